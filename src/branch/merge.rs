//! What a merge would do, as its confirmation shows it.

use super::CommitLine;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    pub path: String,
    /// Git's own sentence: `CONFLICT (content): Merge conflict in ...`.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// A added, M modified, D deleted, T type changed.
    pub status: char,
    pub path: String,
}

/// A module whose files a merge changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleChange {
    pub name: String,
    /// The folder, below the root.
    pub path: String,
    pub files: usize,
    /// In the target there is no such module yet.
    pub new: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergePreview {
    pub fast_forward: bool,
    /// Newest first, at most [`MergePreview::MOST`].
    pub commits: Vec<CommitLine>,
    pub commits_total: u64,
    /// At most [`MergePreview::MOST`].
    pub files: Vec<FileChange>,
    pub files_total: usize,
    pub modules: Vec<ModuleChange>,
    pub conflicts: Vec<Conflict>,
}

impl MergePreview {
    pub const MOST: usize = 200;
}
