//! `__manifest__.py` of a module: what of it the platform needs to know. Read as data, never executed.

use super::literal::{self, Literal};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
};

/// No manifest of a real module comes near.
pub const MAX_BYTES: u64 = 512 * 1024;

pub const FILE_NAME: &str = "__manifest__.py";

/// The technical name of a module: the name of its folder, an identifier. What is one can stand in a comma-separated
/// list and is no option of a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleName(String);

impl ModuleName {
    pub const MAX: usize = 100;

    pub fn parse(text: &str) -> Option<Self> {
        let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let start = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        (letters && start && text.len() <= Self::MAX).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ModuleName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no module name"))
    }
}

impl From<ModuleName> for String {
    fn from(name: ModuleName) -> Self {
        name.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What people read in the list of apps.
    pub name: String,
    /// As written: may lack the series in front.
    pub version: Option<String>,
    /// Not checked against anything: Odoo has the last word on what exists.
    pub depends: Vec<String>,
    pub installable: bool,
    pub auto_install: bool,
    /// It brings demo data.
    pub demo: bool,
    pub python: Vec<String>,
    pub programs: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("{}, line {line}: {message}", .path.display())]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("{}: {message}", .path.display())]
    File { path: PathBuf, message: String },
}

impl Manifest {
    /// Reads the manifest at `root/relative`; errors name `relative`, which is what the developer knows.
    pub fn read(root: &Path, relative: &Path) -> Result<Self, ManifestError> {
        let failed = |message: String| ManifestError::File { path: relative.to_owned(), message };
        let file = std::fs::File::open(root.join(relative))
            .map_err(|e| failed(format!("the manifest cannot be read: {e}")))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| failed(format!("the manifest cannot be read: {e}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(failed(format!("the manifest is larger than {} KiB", MAX_BYTES / 1024)));
        }
        let text =
            String::from_utf8(bytes).map_err(|_| failed("the manifest is not UTF-8 text".to_owned()))?;
        Self::parse(&text, relative)
    }

    pub fn parse(source: &str, path: &Path) -> Result<Self, ManifestError> {
        let syntax = |line, message| ManifestError::Syntax { path: path.to_owned(), line, message };
        let value = literal::parse(source).map_err(|e| {
            syntax(e.line, format!("this is not a Python dictionary of literals: {}", e.message))
        })?;
        if !matches!(value, Literal::Dict(_)) {
            return Err(syntax(1, "a manifest must be a Python dictionary: {'name': ..., ...}".to_owned()));
        }
        let texts = |key: &str, of: Option<&Literal>| match of {
            None | Some(Literal::None) => Ok(Vec::new()),
            Some(Literal::Sequence(items)) => items
                .iter()
                .map(|item| item.as_text().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| syntax(1, format!("'{key}' must list texts only"))),
            Some(_) => Err(syntax(1, format!("'{key}' must be a list"))),
        };
        let external = value.get("external_dependencies");
        let within = |key: &str| texts(key, external.and_then(|e| e.get(key)));
        let version = match value.get("version") {
            None | Some(Literal::None) => None,
            Some(Literal::Text(version)) => Some(version.clone()),
            Some(Literal::Number(digits)) => Some(digits.clone()),
            Some(_) => return Err(syntax(1, "'version' must be a text".to_owned())),
        };
        Ok(Self {
            name: value.get("name").and_then(Literal::as_text).unwrap_or_default().to_owned(),
            version,
            depends: texts("depends", value.get("depends"))?,
            installable: value.get("installable").is_none_or(Literal::truth),
            auto_install: value.get("auto_install").is_some_and(Literal::truth),
            demo: value.get("demo").is_some_and(Literal::truth),
            python: within("python")?,
            programs: within("bin")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(source: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(source, Path::new("addons/x/__manifest__.py"))
    }

    #[test]
    fn reads_an_ordinary_manifest() {
        let manifest = parse(
            "# -*- coding: utf-8 -*-\n{\n    'name': \"Sale \" 'Extra',\n    'version': '19.0.1.0',\n    'depends': \
             ['sale', \"stock\"],\n    'demo': ['demo/x.xml'],\n    'external_dependencies': {'python': \
             ['phonenumbers'], 'bin': ['wkhtmltopdf']},\n    'assets': {'web.assets_backend': \
             [('include', 'a'), 'b']},\n    'license': 'LGPL-3', # ok\n}\n",
        )
        .unwrap();
        assert_eq!(manifest.name, "Sale Extra");
        assert_eq!(manifest.version.as_deref(), Some("19.0.1.0"));
        assert_eq!(manifest.depends, ["sale", "stock"]);
        assert_eq!(manifest.python, ["phonenumbers"]);
        assert_eq!(manifest.programs, ["wkhtmltopdf"]);
        assert!(manifest.installable && manifest.demo && !manifest.auto_install);
        assert!(!parse("{'installable': False}").unwrap().installable);
        assert!(!parse("{'installable': 0}").unwrap().installable);
    }

    #[test]
    fn what_is_no_manifest_is_named_with_file_and_line() {
        let error = parse("{\n  'name': 'x',\n  'version': get_version(),\n}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "addons/x/__manifest__.py, line 3: this is not a Python dictionary of literals: \"get_version\" is code \
             or a name, not a literal"
        );
        assert!(parse("['name']").unwrap_err().to_string().contains("must be a Python dictionary"));
        assert!(parse("{'depends': 'base'}").unwrap_err().to_string().contains("'depends' must be a list"));
        assert!(parse("{'depends': [1]}").unwrap_err().to_string().contains("texts only"));
    }

    #[test]
    fn a_manifest_without_end_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let relative = Path::new("__manifest__.py");
        std::fs::write(root.path().join(relative), " ".repeat(MAX_BYTES as usize + 1)).unwrap();
        assert!(Manifest::read(root.path(), relative).unwrap_err().to_string().contains("larger than"));
        std::fs::write(root.path().join(relative), b"{'name': '\xff'}").unwrap();
        assert!(Manifest::read(root.path(), relative).unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn module_names_cannot_be_options_or_lists() {
        for bad in ["", "-i", "a,b", "a b", "a-b", "a.b", "../a", "1a", "é", &"a".repeat(101)] {
            assert!(ModuleName::parse(bad).is_none(), "{bad}");
        }
        for good in ["sale", "l10n_de", "_x", "Sale2"] {
            assert!(ModuleName::parse(good).is_some(), "{good}");
        }
    }
}
