//! Commits made from files at hand, without a worktree: how the demo project gets its history.

use super::{error::Result, repository::Repository};
use crate::branch::BranchName;

/// A commit on top of the branch's last one in the same stream.
#[derive(Debug, Clone)]
pub struct SeedCommit<'a> {
    pub branch: &'a BranchName,
    /// The branch that it starts from, when this is its first commit.
    pub from: Option<&'a BranchName>,
    pub message: &'a str,
    /// Seconds since 1970.
    pub time: i64,
    /// Path in the tree and content; what is not named stays as it was.
    pub files: &'a [(&'a str, &'a [u8])],
}

impl Repository {
    /// Writes the commits in order, through `git fast-import`. Existing branches are not touched: it refuses.
    pub async fn seed(&self, commits: &[SeedCommit<'_>]) -> Result<()> {
        self.command("fast-import").args(["--quiet", "--done"]).stdin(stream(commits)).run().await.map(drop)
    }
}

fn stream(commits: &[SeedCommit<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let data = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend_from_slice(format!("data {}\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.push(b'\n');
    };
    for commit in commits {
        out.extend_from_slice(format!("commit {}\n", commit.branch.full()).as_bytes());
        out.extend_from_slice(
            format!("committer OdooOps <odooops@localhost> {} +0000\n", commit.time).as_bytes(),
        );
        data(&mut out, commit.message.as_bytes());
        if let Some(from) = commit.from {
            out.extend_from_slice(format!("from {}\n", from.full()).as_bytes());
        }
        for (path, content) in commit.files {
            out.extend_from_slice(format!("M 100644 inline {path}\n").as_bytes());
            data(&mut out, content);
        }
        out.push(b'\n');
    }
    out.extend_from_slice(b"done\n");
    out
}
