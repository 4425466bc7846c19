//! Files of an environment, as they are named and listed.

use crate::{Error, Result, error::Detail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;

/// What can be read of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRoot {
    /// The checkout, with the addons.
    Src,
    /// Attachments of its database.
    Filestore,
}

impl FileRoot {
    pub const ALL: [Self; 2] = [Self::Src, Self::Filestore];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Src => "src",
            Self::Filestore => "filestore",
        }
    }
}

/// A root and what is below it, as in `src/sale/models`; nothing for the list of roots. Names that climb, are empty or
/// would steer a terminal are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath {
    root: Option<FileRoot>,
    text: String,
}

impl FilePath {
    pub fn parse(text: &str) -> Result<Self> {
        let refused = || Error::invalid("path", Detail::new("environment.path"));
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self { root: None, text: String::new() });
        }
        let sound = |name: &str| {
            !name.is_empty()
                && name.len() <= MAX_NAME
                && !matches!(name, "." | "..")
                && !name.contains(char::is_control)
        };
        if text.len() > MAX_PATH || !text.split('/').all(sound) {
            return Err(refused());
        }
        let first = text.split('/').next().unwrap_or_default();
        let root = FileRoot::ALL.into_iter().find(|root| root.as_str() == first).ok_or_else(refused)?;
        Ok(Self { root: Some(root), text: text.to_owned() })
    }

    pub fn root(&self) -> Option<FileRoot> {
        self.root
    }

    /// What follows the root.
    pub fn within(&self) -> &str {
        self.text.split_once('/').map_or("", |(_, within)| within)
    }

    /// The last name.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    File,
    Folder,
    /// A symbolic link; it is followed when that stays inside.
    Link,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct FileEntry {
    pub name: String,
    pub kind: FileKind,
    pub size: u64,
    pub modified_at: Option<DateTime<Utc>>,
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct FileList {
    pub path: String,
    pub entries: Vec<FileEntry>,
    /// There are more than are listed.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_12_paths_stay_below_their_root() {
        let path = FilePath::parse("src/sale/models/").unwrap();
        assert_eq!((path.root(), path.within(), path.name()), (Some(FileRoot::Src), "sale/models", "models"));
        assert_eq!(FilePath::parse("filestore").unwrap().within(), "");
        assert_eq!(FilePath::parse("").unwrap().root(), None);
        for odd in ["src/..a", "src/a b", "src/-x", "src/$(id)", "src/a\\b", "src/é"] {
            assert!(FilePath::parse(odd).is_ok(), "{odd}");
        }
        let (long, deep) = (format!("src/{}", "a".repeat(256)), format!("src{}", "/a".repeat(3000)));
        for bad in [
            "/src",
            "//",
            "..",
            "../src",
            "src/..",
            "src/../etc",
            "src/./a",
            "src//a",
            "etc",
            "data",
            "Src",
            "src/a\0b",
            "src/a\nb",
            "src/\u{1b}[2J",
            " src",
            &long,
            &deep,
        ] {
            assert!(FilePath::parse(bad).is_err(), "{bad:?}");
        }
    }
}
