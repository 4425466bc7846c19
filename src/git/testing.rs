//! Repositories for tests: made with the real git, in a folder that goes when the test ends.

use super::{
    command::{Git, GitSettings},
    repository::{Repositories, Repository},
};
use crate::{
    branch::{BranchName, CommitSha},
    id::ProjectId,
};
use std::path::Path;

pub(super) struct Fixture {
    folder: tempfile::TempDir,
    pub git: Git,
    pub repositories: Repositories,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::make(false).await
    }

    /// With `file://` URLs allowed.
    pub async fn with_file() -> Self {
        Self::make(true).await
    }

    async fn make(allow_file: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = GitSettings {
            root: folder.path().join("git"),
            ops: folder.path().join("ops"),
            allow_file,
            allow_private_hosts: false,
            ssh_key: None,
        };
        let git = Git::open(settings).await.unwrap();
        Self { folder, repositories: Repositories::new(git.clone()), git }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub async fn bare(&self, _purpose: &str) -> Repository {
        self.repositories.create(ProjectId::new()).await.unwrap()
    }

    /// Commits files (path, content) on top of the branch, with plumbing only.
    pub async fn commit(
        &self,
        repo: &Repository,
        branch: &str,
        files: &[(&str, &str)],
        message: &str,
    ) -> CommitSha {
        let name = BranchName::parse(branch).unwrap();
        let parent = repo.head(&name).await.unwrap();
        let entries: Vec<_> = files.iter().map(|(path, text)| Entry::File(path, text)).collect();
        let new = self.commit_on(repo, parent.as_ref(), &entries, message).await;
        repo.update_branch(&name, Some(&new), parent.as_ref(), "test").await.unwrap();
        new
    }

    /// A commit without parents, to which the branch is forced.
    pub async fn orphan(
        &self,
        repo: &Repository,
        branch: &str,
        files: &[(&str, &str)],
        message: &str,
    ) -> CommitSha {
        let name = BranchName::parse(branch).unwrap();
        let old = repo.head(&name).await.unwrap();
        let entries: Vec<_> = files.iter().map(|(path, text)| Entry::File(path, text)).collect();
        let new = self.commit_on(repo, None, &entries, message).await;
        repo.update_branch(&name, Some(&new), old.as_ref(), "test").await.unwrap();
        new
    }

    /// A commit that no branch names.
    pub async fn commit_on(
        &self,
        repo: &Repository,
        parent: Option<&CommitSha>,
        entries: &[Entry<'_>],
        message: &str,
    ) -> CommitSha {
        let index = self.path().join(format!("index-{}", uuid::Uuid::now_v7()));
        let command = |what| repo.command(what).env("GIT_INDEX_FILE", &index);
        if let Some(parent) = parent {
            command("read-tree").arg(parent.as_str()).run().await.unwrap();
        }
        let mut lines = String::new();
        for entry in entries {
            let (mode, object, path) = match entry {
                Entry::File(path, text) => ("100644", self.blob(repo, text).await, path),
                Entry::Link(path, target) => ("120000", self.blob(repo, target).await, path),
                Entry::Submodule(path, commit) => ("160000", commit.to_string(), path),
            };
            lines.push_str(&format!("{mode} {object}\t{path}\n"));
        }
        command("update-index").args(["--add", "--index-info"]).stdin(lines).run().await.unwrap();
        let tree = command("write-tree").run_text().await.unwrap();
        let mut commit = command("commit-tree").stdin(message);
        for role in ["AUTHOR", "COMMITTER"] {
            commit = commit
                .env(&format!("GIT_{role}_NAME"), "Ada Tester")
                .env(&format!("GIT_{role}_EMAIL"), "ada@example.com")
                .env(&format!("GIT_{role}_DATE"), "1700000000 +0000");
        }
        if let Some(parent) = parent {
            commit = commit.arg("-p").arg(parent.as_str());
        }
        CommitSha::parse(commit.arg(tree.trim()).run_text().await.unwrap().trim()).unwrap()
    }

    async fn blob(&self, repo: &Repository, text: &str) -> String {
        let command = repo.command("hash-object").args(["-w", "--stdin"]).stdin(text);
        command.run_text().await.unwrap().trim().to_owned()
    }
}

pub(super) enum Entry<'a> {
    File(&'a str, &'a str),
    Link(&'a str, &'a str),
    Submodule(&'a str, &'a CommitSha),
}
