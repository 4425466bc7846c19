//! What goes wrong with git. The variants that people can mend become user errors with a code of their own.

use crate::{Detail, Error, branch::Conflict};
use std::{io, path::PathBuf, time::Duration};

pub type Result<T, E = GitError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("git {what} could not be started: {source}")]
    Spawn { what: &'static str, source: io::Error },
    #[error("git {what} did not end within {} s", .after.as_secs())]
    TimedOut { what: &'static str, after: Duration },
    #[error("git {what} wrote more than {limit} bytes")]
    OutputTooLarge { what: &'static str, limit: usize },
    #[error("git {what} failed ({}): {stderr}", .code.map_or("by a signal".to_owned(), |code| code.to_string()))]
    Failed { what: &'static str, code: Option<i32>, stderr: String },
    #[error("git {what} answered something unexpected: {found}")]
    Unexpected { what: &'static str, found: String },
    #[error("git {found} is too old: 2.38 or newer is needed")]
    TooOld { found: String },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error("the repository URL is refused: {reason} ({url})")]
    UrlRefused { url: String, reason: &'static str },
    #[error("{host} could not be resolved: {reason}")]
    HostUnknown { host: String, reason: String },
    #[error("{host} resolves to {address}, which is not a public address")]
    HostRefused { host: String, address: String },

    /// There is no such repository, or not for us.
    #[error("the repository cannot be read: {reason}")]
    Unreadable { reason: String },

    #[error("commit {sha} is not in the repository")]
    CommitUnknown { sha: String },
    #[error("branch {branch} does not exist")]
    BranchUnknown { branch: String },
    #[error("the commit holds {} that {} out of the tree: {}",
        if .paths.len() == 1 { "a symbolic link" } else { "symbolic links" },
        if .paths.len() == 1 { "points" } else { "point" },
        shown(.paths))]
    SymlinkOutside { paths: Vec<String> },
    #[error("the commit is too large to check out: {what} exceeds {limit}")]
    TooLarge { what: &'static str, limit: u64 },
    #[error("{} is not an empty directory", .path.display())]
    NotEmpty { path: PathBuf },
    #[error("submodule {path}: {reason}")]
    SubmoduleRefused { path: String, reason: &'static str },
    #[error("submodule {path} ({url}): {source}")]
    Submodule { path: String, url: String, source: Box<GitError> },

    #[error("{} conflicting {}: {}", .conflicts.len(), if .conflicts.len() == 1 { "file" } else { "files" },
        shown(.conflicts.iter().map(|c| &c.path)))]
    Conflicts { conflicts: Vec<Conflict> },
    #[error("the branches {from} and {into} have no common history")]
    Unrelated { from: String, into: String },
    #[error("branch {branch} has moved meanwhile")]
    Moved { branch: String },
}

impl GitError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// The first few of a list, so that a message stays readable.
fn shown(list: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    const MOST: usize = 10;
    let all: Vec<_> = list.into_iter().collect();
    let mut text = all.iter().take(MOST).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if all.len() > MOST {
        text.push_str(&format!(" and {} more", all.len() - MOST));
    }
    text
}

impl From<GitError> for Error {
    fn from(error: GitError) -> Self {
        let reason = error.to_string();
        match error {
            GitError::UrlRefused { reason, .. } => {
                Self::invalid("remote_url", Detail::new("git.url_refused").with("reason", reason))
            }
            GitError::HostUnknown { host, .. } => {
                Self::invalid("remote_url", Detail::new("git.host_unknown").with("host", host))
            }
            GitError::HostRefused { host, address } => Self::invalid(
                "remote_url",
                Detail::new("git.host_refused").with("host", host).with("address", address),
            ),
            GitError::Unreadable { reason } => {
                Self::invalid("remote_url", Detail::new("git.unreadable").with("reason", reason))
            }
            GitError::CommitUnknown { sha } => {
                Self::NotFound { detail: Detail::new("commit.unknown").with("commit", sha) }
            }
            GitError::BranchUnknown { branch } => {
                Self::NotFound { detail: Detail::new("branch.unknown").with("branch", branch) }
            }
            GitError::SymlinkOutside { .. }
            | GitError::TooLarge { .. }
            | GitError::SubmoduleRefused { .. }
            | GitError::Submodule { .. } => {
                Self::invalid("commit", Detail::new("git.sources_refused").with("reason", reason))
            }
            GitError::Conflicts { conflicts } => Self::conflict(
                Detail::new("branch.merge_conflict")
                    .with("count", conflicts.len())
                    .with("files", conflicts.iter().map(|c| c.path.as_str()).collect::<Vec<_>>().join("\n")),
            ),
            GitError::Unrelated { from, into } => {
                Self::conflict(Detail::new("branch.merge_unrelated").with("branch", from).with("into", into))
            }
            GitError::Moved { branch } => {
                Self::conflict(Detail::new("branch.moved_meanwhile").with("branch", branch))
            }
            GitError::TimedOut { .. } => Self::unavailable("git.timeout"),
            GitError::Spawn { .. }
            | GitError::OutputTooLarge { .. }
            | GitError::Failed { .. }
            | GitError::Unexpected { .. }
            | GitError::TooOld { .. }
            | GitError::Io { .. }
            | GitError::NotEmpty { .. } => Self::internal(reason),
        }
    }
}
