//! The repository as a hook sees it: what is being pushed lies in quarantine until the hook has agreed.

use super::{
    command::{Git, GitCommand},
    error::{GitError, Result},
};
use crate::branch::CommitSha;
use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// What git tells its hooks about where the new objects are.
const HANDED_DOWN: [&str; 3] =
    ["GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH"];

pub struct Quarantine {
    git: Git,
    path: PathBuf,
    objects: Vec<(&'static str, OsString)>,
}

impl Quarantine {
    /// Of the hook that this process is: git starts hooks inside the repository.
    pub fn of_this_hook() -> Result<Self> {
        let path = env::current_dir().map_err(GitError::io("."))?;
        let objects = HANDED_DOWN.iter().filter_map(|key| Some((*key, env::var_os(key)?))).collect();
        let root = path.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { git: Git::in_hook(root), path, objects })
    }

    /// Whether moving a branch so drops commits that it had.
    pub async fn is_forced(&self, old: &CommitSha, new: &CommitSha) -> Result<bool> {
        let output =
            self.command("merge-base", ["--is-ancestor", old.as_str(), new.as_str()]).output().await?;
        match output.code {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            code => Err(GitError::Failed { what: "merge-base", code, stderr: output.stderr }),
        }
    }

    /// Whether the object is a commit: a branch of anything else cannot be built.
    pub async fn is_commit(&self, object: &CommitSha) -> Result<bool> {
        let output = self.command("cat-file", ["-t", object.as_str()]).output().await?;
        Ok(output.code == Some(0) && output.stdout.trim_ascii() == b"commit")
    }

    fn command<const N: usize>(&self, what: &'static str, args: [impl AsRef<OsStr>; N]) -> GitCommand {
        let command = self.git.command(what).git_dir(&self.path).args(args);
        self.objects.iter().fold(command, |command, (key, value)| command.env(key, value))
    }
}
