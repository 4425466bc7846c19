//! What a checked-out commit holds: its modules, the folders that Odoo must search, and its requirements files.
//! The tree is a stranger's: the walk is bounded, follows no link, and refuses links that lead out of it.

use super::manifest::{self, Manifest, ManifestError, ModuleName};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Component, Path, PathBuf},
};

const MAX_ENTRIES: usize = 300_000;
const MAX_DEPTH: usize = 12;
const REQUIREMENTS: &str = "requirements.txt";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    pub name: ModuleName,
    /// Its folder, relative to the root of the tree.
    pub path: PathBuf,
    /// It comes from a submodule, not from the branch itself.
    pub from_submodule: bool,
    /// It has a package `tests`.
    pub has_tests: bool,
    pub manifest: Manifest,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addons {
    /// Relative to the root; the branch's own folders before those of submodules. An empty path is the root.
    pub paths: Vec<PathBuf>,
    /// Each name once, the one that Odoo would load.
    pub modules: Vec<Module>,
    /// Relative to the root: the root's own and those of the addons folders.
    pub requirements: Vec<PathBuf>,
    /// Sentences for the build's log.
    pub warnings: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum AddonsError {
    #[error("the link {} leads out of the repository (to {}): links may only lead to files of the same commit",
        .link.display(), .target.display())]
    LinkOut { link: PathBuf, target: PathBuf },
    #[error("the repository holds more than {MAX_ENTRIES} files")]
    TooManyFiles,
    #[error("the folder name {0:?} has a character that Odoo's addons path cannot hold")]
    FolderName(PathBuf),
    #[error("the root of the repository is itself a module: a module needs a folder that carries its name")]
    RootIsModule,
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{}: {cause}", .path.display())]
    Io { path: PathBuf, cause: io::Error },
}

impl Addons {
    /// Reads the tree at `root`.
    pub fn find(root: &Path) -> Result<Self, AddonsError> {
        let io_at = |path: &Path| {
            let path = path.to_owned();
            move |cause| AddonsError::Io { path, cause }
        };
        let root = root.canonicalize().map_err(io_at(root))?;
        let submodules = submodule_paths(&root);
        let mut found: Vec<(PathBuf, bool)> = Vec::new();
        let mut walk = walkdir::WalkDir::new(&root)
            .follow_links(false)
            .max_depth(MAX_DEPTH)
            .sort_by_file_name()
            .into_iter();
        let mut entries = 0;
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(|e| AddonsError::Io {
                path: e.path().unwrap_or(&root).to_owned(),
                cause: e.into_io_error().unwrap_or_else(|| io::Error::other("the folders form a loop")),
            })?;
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(AddonsError::TooManyFiles);
            }
            let relative = entry.path().strip_prefix(&root).unwrap_or(entry.path()).to_owned();
            let kind = entry.file_type();
            if kind.is_symlink() {
                check_link(&root, &relative)
                    .map_err(|target| AddonsError::LinkOut { link: relative.clone(), target })?;
                // A linked module is a module of the folder that holds the link.
                if entry.path().join(manifest::FILE_NAME).is_file() {
                    found.push((relative.clone(), in_any(&relative, &submodules)));
                }
            } else if kind.is_dir() {
                if entry.file_name() == ".git" && entry.depth() > 0 {
                    walk.skip_current_dir();
                } else if entry.path().join(manifest::FILE_NAME).is_file() {
                    if entry.depth() == 0 {
                        return Err(AddonsError::RootIsModule);
                    }
                    found.push((relative.clone(), in_any(&relative, &submodules)));
                }
            }
        }
        Self::sort(&root, found)
    }

    fn sort(root: &Path, mut found: Vec<(PathBuf, bool)>) -> Result<Self, AddonsError> {
        // A folder within a module (test data of a module generator) is no module.
        let all: BTreeSet<PathBuf> = found.iter().map(|(path, _)| path.clone()).collect();
        found.retain(|(path, _)| !path.ancestors().skip(1).any(|above| all.contains(above)));
        found.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));

        let mut addons = Self::default();
        let mut names: BTreeMap<ModuleName, PathBuf> = BTreeMap::new();
        for (path, from_submodule) in found {
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            let name = path.file_name().and_then(|n| n.to_str()).and_then(ModuleName::parse);
            let Some(name) = name else {
                let warning = format!(
                    "{} is not a module: its folder's name is no identifier (letters, digits, underscores)",
                    path.display()
                );
                addons.warnings.push(warning);
                continue;
            };
            let manifest = match Manifest::read(root, &path.join(manifest::FILE_NAME)) {
                Ok(manifest) => manifest,
                // What somebody else wrote cannot be mended in this branch, and may never be installed.
                Err(error) if from_submodule => {
                    addons.warnings.push(format!("a module of a submodule is left out: {error}"));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if !addons.paths.contains(&folder) {
                check_folder(&folder)?;
                addons.paths.push(folder);
            }
            if let Some(first) = names.get(&name) {
                addons.warnings.push(format!(
                    "the module {name} is there twice: {} is used, {} is not",
                    first.display(),
                    path.display()
                ));
                continue;
            }
            names.insert(name.clone(), path.clone());
            let has_tests = is_plain_file(&root.join(&path).join("tests/__init__.py"));
            addons.modules.push(Module { name, path, from_submodule, has_tests, manifest });
        }
        let folders = std::iter::once(PathBuf::new()).chain(addons.paths.iter().cloned());
        let candidates: BTreeSet<PathBuf> = folders.map(|folder| folder.join(REQUIREMENTS)).collect();
        addons.requirements = candidates.into_iter().filter(|path| is_plain_file(&root.join(path))).collect();
        Ok(addons)
    }

    /// What a build installs by default: the branch's own modules that can be installed.
    pub fn to_install(&self) -> impl Iterator<Item = &str> {
        self.own().map(|module| module.name.as_str())
    }

    /// Those of them that bring tests. To test only these: Odoo warns when what it is told to test has none.
    pub fn to_test(&self) -> impl Iterator<Item = &str> {
        self.own().filter(|module| module.has_tests).map(|module| module.name.as_str())
    }

    fn own(&self) -> impl Iterator<Item = &Module> {
        self.modules.iter().filter(|module| !module.from_submodule && module.manifest.installable)
    }

    /// The names in an own module's `depends` that are neither here nor in `known`. A hint for the reader of a red
    /// build, never the judgement.
    pub fn unknown_dependencies(&self, known: &BTreeSet<String>) -> Vec<(ModuleName, String)> {
        let here: BTreeSet<&str> = self.modules.iter().map(|m| m.name.as_str()).collect();
        let mut unknown = Vec::new();
        for module in self.modules.iter().filter(|m| m.manifest.installable) {
            for name in &module.manifest.depends {
                if !here.contains(name.as_str()) && !known.contains(name) {
                    unknown.push((module.name.clone(), name.clone()));
                }
            }
        }
        unknown
    }
}

/// Paths of the submodules, from `.gitmodules` (the checkout may have no `.git` of its own).
fn submodule_paths(root: &Path) -> Vec<PathBuf> {
    let file = root.join(".gitmodules");
    if !is_plain_file(&file) || fs::metadata(&file).is_ok_and(|m| m.len() > 1024 * 1024) {
        return Vec::new();
    }
    let Ok(text) = fs::read_to_string(&file) else { return Vec::new() };
    let path_of = |line: &str| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "path").then(|| PathBuf::from(value.trim().trim_matches('"')))
    };
    text.lines().filter_map(path_of).filter(|path| !path.as_os_str().is_empty()).collect()
}

fn in_any(path: &Path, parents: &[PathBuf]) -> bool {
    parents.iter().any(|parent| path.starts_with(parent))
}

fn is_plain_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_file())
}

/// `Err(target)` when the link at `root/relative` leads out of `root`, whether or not its target exists.
fn check_link(root: &Path, relative: &Path) -> Result<(), PathBuf> {
    let link = root.join(relative);
    let Ok(target) = fs::read_link(&link) else { return Err(PathBuf::new()) };
    if target.is_absolute() {
        return Err(target);
    }
    let mut depth = relative.components().count() - 1;
    for part in target.components() {
        match part {
            Component::ParentDir if depth == 0 => return Err(target),
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    match link.canonicalize() {
        Ok(real) if !real.starts_with(root) => Err(target),
        _ => Ok(()),
    }
}

/// The addons path is a comma-separated line of a file, in which Odoo expands variables.
fn check_folder(folder: &Path) -> Result<(), AddonsError> {
    let refuse = || Err(AddonsError::FolderName(folder.to_owned()));
    let Some(text) = folder.to_str() else { return refuse() };
    let bad = |c: char| c.is_control() || matches!(c, ',' | '$' | '"' | '\'' | '%' | ';' | '#');
    if text.chars().any(bad) || text.trim() != text { refuse() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn module(root: &Path, path: &str, manifest: &str) {
        fs::create_dir_all(root.join(path)).unwrap();
        fs::write(root.join(path).join("__manifest__.py"), manifest).unwrap();
    }

    fn names(addons: &Addons) -> Vec<&str> {
        addons.modules.iter().map(|m| m.name.as_str()).collect()
    }

    #[test]
    fn finds_modules_folders_and_requirements() {
        let root = tempfile::tempdir().unwrap();
        let r = root.path();
        module(r, "sale_x", "{'depends': ['sale', 'nowhere']}");
        module(r, "more/stock_x", "{'installable': False}");
        module(r, "vendor/web/web_y", "{}");
        module(r, "vendor/web/sale_x", "{}");
        module(r, "vendor/web/broken", "not python");
        module(r, "sale_x/tests/data/generated", "{}");
        module(r, "bad-name", "{}");
        module(r, ".git/hidden", "{}");
        fs::write(r.join(".gitmodules"), "[submodule \"web\"]\n\tpath = vendor/web\n\turl = https://x/y\n")
            .unwrap();
        for folder in ["", "more", "vendor/web", "elsewhere"] {
            fs::create_dir_all(r.join(folder)).unwrap();
            fs::write(r.join(folder).join("requirements.txt"), "").unwrap();
        }
        let addons = Addons::find(r).unwrap();
        assert_eq!(names(&addons), ["stock_x", "sale_x", "web_y"]);
        assert_eq!(addons.paths, [Path::new("more"), Path::new(""), Path::new("vendor/web")]);
        assert_eq!(addons.to_install().collect::<Vec<_>>(), ["sale_x"]);
        assert_eq!(addons.to_test().count(), 0);
        fs::write(r.join("sale_x/tests/__init__.py"), "").unwrap();
        assert_eq!(Addons::find(r).unwrap().to_test().collect::<Vec<_>>(), ["sale_x"]);
        let requirements = ["more/requirements.txt", "requirements.txt", "vendor/web/requirements.txt"];
        assert_eq!(addons.requirements, requirements.map(PathBuf::from));
        let warned = addons.warnings.join("\n");
        assert!(
            warned.contains("sale_x is there twice: sale_x is used, vendor/web/sale_x is not"),
            "{warned}"
        );
        assert!(warned.contains("bad-name is not a module") && warned.contains("broken"), "{warned}");
        let known = BTreeSet::from(["sale".to_owned()]);
        let unknown = addons.unknown_dependencies(&known);
        assert_eq!(unknown, [(ModuleName::parse("sale_x").unwrap(), "nowhere".to_owned())]);
    }

    #[test]
    fn an_empty_tree_is_fine() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Addons::find(root.path()).unwrap(), Addons::default());
    }

    #[test]
    fn links_may_only_lead_inside() {
        for target in ["/etc/passwd", "../outside", "a/../../x", "/nowhere/at/all", "../../../../etc"] {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("a")).unwrap();
            symlink(target, root.path().join("link")).unwrap();
            let error = Addons::find(root.path()).unwrap_err();
            assert!(matches!(error, AddonsError::LinkOut { .. }), "{target}: {error}");
            assert!(error.to_string().contains("link") && error.to_string().contains(target), "{error}");
        }
        let root = tempfile::tempdir().unwrap();
        module(root.path(), "vendor/web_y", "{}");
        fs::create_dir_all(root.path().join("addons")).unwrap();
        symlink("../vendor/web_y", root.path().join("addons/web_z")).unwrap();
        assert_eq!(names(&Addons::find(root.path()).unwrap()), ["web_z", "web_y"]);
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let root = tempfile::tempdir().unwrap();
        module(root.path(), "mine", "import os");
        let error = Addons::find(root.path()).unwrap_err().to_string();
        assert!(error.starts_with("mine/__manifest__.py, line 1:"), "{error}");

        let root = tempfile::tempdir().unwrap();
        module(root.path(), "a,b/mine", "{}");
        assert!(matches!(Addons::find(root.path()).unwrap_err(), AddonsError::FolderName(_)));

        let root = tempfile::tempdir().unwrap();
        module(root.path(), ".", "{}");
        assert!(matches!(Addons::find(root.path()).unwrap_err(), AddonsError::RootIsModule));
    }
}
