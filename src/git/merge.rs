//! Merging in a bare repository, and what a merge would do.
//!
//! A branch that is simply behind is moved forward; else a merge commit is made. The target moves only from the
//! commit that the merge was made on: whoever pushed meanwhile wins, and the merge is reported as not done.

mod branches;

pub use branches::{MergeDone, merge_branches, preview_merge};

use super::{
    commit,
    error::{GitError, Result},
    repository::Repository,
};
use crate::branch::{BranchName, CommitLine, CommitSha, Conflict, FileChange, MergePreview, ModuleChange};
use std::collections::BTreeMap;

/// Who signs a merge commit: the person who asked for it.
#[derive(Debug, Clone)]
pub struct Author {
    pub name: String,
    pub email: String,
}

impl Author {
    /// For what nobody asked for.
    pub fn platform() -> Self {
        Self { name: "OdooOps".to_owned(), email: "odooops@localhost".to_owned() }
    }
}

pub struct Merge<'a> {
    pub from: &'a BranchName,
    pub into: &'a BranchName,
    pub author: &'a Author,
}

/// What became of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// The target already had everything.
    Nothing,
    FastForward {
        old: CommitSha,
        new: CommitLine,
    },
    Commit {
        old: CommitSha,
        new: CommitLine,
    },
}

/// The tree of a merge, or what stands against it.
enum Outcome {
    Clean { tree: String },
    Conflicts(Vec<Conflict>),
}

impl Repository {
    /// Merges one branch into another. Conflicts change nothing and come back file by file.
    pub async fn merge(&self, merge: &Merge<'_>) -> Result<Merged> {
        let (from, into) = self.both(merge.from, merge.into).await?;
        if self.is_ancestor(&from, &into).await? {
            return Ok(Merged::Nothing);
        }
        let why = format!("merge {}", merge.from);
        if self.is_ancestor(&into, &from).await? {
            self.update_branch(merge.into, Some(&from), Some(&into), &why).await?;
            return Ok(Merged::FastForward { old: into, new: self.commit(&from).await? });
        }
        let tree = match self.try_merge(merge, &from, &into).await? {
            Outcome::Clean { tree } => tree,
            Outcome::Conflicts(conflicts) => return Err(GitError::Conflicts { conflicts }),
        };
        let message = format!("Merge branch '{}' into {}\n", merge.from, merge.into);
        let mut command = self.command("commit-tree").args(["-p", into.as_str(), "-p", from.as_str()]);
        let (name, email) = (identity(&merge.author.name), identity(&merge.author.email));
        for role in ["AUTHOR", "COMMITTER"] {
            command =
                command.env(&format!("GIT_{role}_NAME"), &name).env(&format!("GIT_{role}_EMAIL"), &email);
        }
        let text = command.arg(&tree).stdin(message).run_text().await?;
        let new = commit::sha("commit-tree", &text)?;
        self.update_branch(merge.into, Some(&new), Some(&into), &why).await?;
        Ok(Merged::Commit { old: into, new: self.commit(&new).await? })
    }

    /// What [`Repository::merge`] would do now.
    pub async fn merge_preview(&self, merge: &Merge<'_>) -> Result<MergePreview> {
        let (from, into) = self.both(merge.from, merge.into).await?;
        let commits = self.log_between(Some(&into), &from, MergePreview::MOST).await?;
        let commits_total = self.count_between(&into, &from).await?;
        let fast_forward = self.is_ancestor(&into, &from).await?;
        let conflicts = if fast_forward || commits_total == 0 {
            Vec::new()
        } else {
            match self.try_merge(merge, &from, &into).await? {
                Outcome::Clean { .. } => Vec::new(),
                Outcome::Conflicts(conflicts) => conflicts,
            }
        };
        let mut files = self.changed_files(&into, &from).await?;
        let files_total = files.len();
        let modules = self.changed_modules(&into, &from, &files).await?;
        files.truncate(MergePreview::MOST);
        Ok(MergePreview { fast_forward, commits, commits_total, files, files_total, modules, conflicts })
    }

    async fn both(&self, from: &BranchName, into: &BranchName) -> Result<(CommitSha, CommitSha)> {
        let unknown = |branch: &BranchName| GitError::BranchUnknown { branch: branch.to_string() };
        // A project whose first fetch has not come through yet.
        if !self.exists() {
            return Err(unknown(from));
        }
        let from_head = self.head(from).await?.ok_or_else(|| unknown(from))?;
        let into_head = self.head(into).await?.ok_or_else(|| unknown(into))?;
        Ok((from_head, into_head))
    }

    async fn try_merge(&self, merge: &Merge<'_>, from: &CommitSha, into: &CommitSha) -> Result<Outcome> {
        let base = self.command("merge-base").arg(from.as_str()).arg(into.as_str()).output().await?;
        if base.code == Some(1) {
            return Err(GitError::Unrelated { from: merge.from.to_string(), into: merge.into.to_string() });
        }
        let command = self.command("merge-tree").args(["--write-tree", "-z", "--name-only", "--messages"]);
        let output = command.arg(into.as_str()).arg(from.as_str()).output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        match output.code {
            Some(0) => {
                Ok(Outcome::Clean { tree: text.split('\0').next().unwrap_or_default().trim().to_owned() })
            }
            Some(1) => Ok(Outcome::Conflicts(conflicts(&text))),
            code => Err(GitError::Failed { what: "merge-tree", code, stderr: output.stderr }),
        }
    }

    /// What `to` changed since it left `from`.
    async fn changed_files(&self, from: &CommitSha, to: &CommitSha) -> Result<Vec<FileChange>> {
        let command = self.command("diff-tree").args(["-r", "-z", "--no-renames", "--name-status"]);
        let command = command.args(["--merge-base", from.as_str(), to.as_str()]).output_limit(64 << 20);
        let output = command.output().await?;
        let bytes = match output.code {
            Some(0) => output.stdout,
            // Without common history everything is new.
            _ => {
                let command = self.command("diff-tree").args(["-r", "-z", "--no-renames", "--name-status"]);
                command.arg(from.as_str()).arg(to.as_str()).output_limit(64 << 20).run().await?
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut fields = text.split('\0');
        let mut files = Vec::new();
        while let (Some(status), Some(path)) = (fields.next(), fields.next()) {
            let status = status.chars().next().unwrap_or('M');
            files.push(FileChange { status, path: path.to_owned() });
        }
        Ok(files)
    }

    /// The modules that changed files belong to: the nearest folder above with a manifest, in either commit.
    async fn changed_modules(
        &self,
        into: &CommitSha,
        from: &CommitSha,
        files: &[FileChange],
    ) -> Result<Vec<ModuleChange>> {
        let old = self.module_folders(into).await?;
        let new = self.module_folders(from).await?;
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        for file in files {
            let mut folder = file.path.as_str();
            while let Some((parent, _)) = folder.rsplit_once('/') {
                folder = parent;
                if old.contains(folder) || new.contains(folder) {
                    *found.entry(folder).or_default() += 1;
                    break;
                }
            }
        }
        let module = |(path, files): (&str, usize)| ModuleChange {
            name: path.rsplit('/').next().unwrap_or(path).to_owned(),
            path: path.to_owned(),
            files,
            new: !old.contains(path),
        };
        Ok(found.into_iter().map(module).collect())
    }

    async fn module_folders(&self, commit: &CommitSha) -> Result<std::collections::HashSet<String>> {
        let command = self.command("ls-tree").args(["-r", "-z", "--name-only", "--full-tree"]);
        let text = command.arg(commit.as_str()).output_limit(128 << 20).run_text().await?;
        let folders = text.split('\0').filter_map(|path| path.strip_suffix("/__manifest__.py"));
        Ok(folders.map(str::to_owned).collect())
    }
}

/// Reads `<tree>\0 <conflicted path>\0... \0 (<number of paths>\0<path>\0...<kind>\0<message>\0)*`.
fn conflicts(text: &str) -> Vec<Conflict> {
    let mut fields = text.split('\0').skip(1);
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for path in fields.by_ref().take_while(|path| !path.is_empty()) {
        found.entry(path.to_owned()).or_default();
    }
    while let Some(count) = fields.next().and_then(|count| count.parse::<usize>().ok()) {
        let paths: Vec<_> = fields.by_ref().take(count).collect();
        let (Some(kind), Some(message)) = (fields.next(), fields.next()) else { break };
        if kind.starts_with("CONFLICT") {
            for path in paths {
                found.entry(path.to_owned()).or_default().push_str(message.trim_end());
            }
        }
    }
    found.into_iter().map(|(path, message)| Conflict { path, message }).collect()
}

/// Names come from people: git refuses angle brackets and line ends, and an empty name.
fn identity(text: &str) -> String {
    let clean: String =
        text.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).take(200).collect();
    let clean =
        clean.trim_matches(|c: char| c.is_whitespace() || matches!(c, '.' | ',' | ':' | ';' | '"' | '\''));
    if clean.is_empty() { "OdooOps".to_owned() } else { clean.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;

    fn name(text: &str) -> BranchName {
        BranchName::parse(text).unwrap()
    }

    async fn merge(repo: &Repository, from: &str, into: &str) -> Result<Merged> {
        let author = Author { name: "Ada <x>\n".to_owned(), email: "ada@example.com".to_owned() };
        repo.merge(&Merge { from: &name(from), into: &name(into), author: &author }).await
    }

    /// `side` starts where `main` is.
    async fn fork(repo: &Repository, side: &str) -> CommitSha {
        let main = repo.head(&name("main")).await.unwrap().unwrap();
        repo.update_branch(&name(side), Some(&main), None, "test").await.unwrap();
        main
    }

    #[tokio::test]
    async fn a_branch_that_is_behind_moves_forward() {
        let fixture = Fixture::new().await;
        let repo = fixture.bare("ff").await;
        let base = fixture.commit(&repo, "main", &[("a", "1")], "base").await;
        fork(&repo, "side").await;
        assert_eq!(merge(&repo, "side", "main").await.unwrap(), Merged::Nothing);
        let side = fixture.commit(&repo, "side", &[("b", "1")], "side").await;
        match merge(&repo, "side", "main").await.unwrap() {
            Merged::FastForward { old, new } => assert_eq!((old, new.sha), (base, side)),
            other => panic!("{other:?}"),
        }
        let gone = merge(&repo, "gone", "main").await;
        assert!(matches!(gone, Err(GitError::BranchUnknown { .. })), "{gone:?}");
    }

    #[tokio::test]
    async fn a_clean_merge_has_two_parents_and_both_changes() {
        let fixture = Fixture::new().await;
        let repo = fixture.bare("clean").await;
        fixture.commit(&repo, "main", &[("a", "1"), ("b", "1")], "base").await;
        fork(&repo, "side").await;
        let side = fixture.commit(&repo, "side", &[("b", "2")], "side").await;
        let main = fixture.commit(&repo, "main", &[("a", "2")], "main").await;
        let Merged::Commit { old, new } = merge(&repo, "side", "main").await.unwrap() else { panic!() };
        assert_eq!(old, main);
        assert_eq!(new.subject, "Merge branch 'side' into main");
        assert_eq!(new.author, "Ada x");
        assert_eq!(repo.head(&name("main")).await.unwrap(), Some(new.sha.clone()));
        assert!(
            repo.is_ancestor(&side, &new.sha).await.unwrap()
                && repo.is_ancestor(&main, &new.sha).await.unwrap()
        );
        let folder = fixture.path().join("out");
        repo.check_out(&new.sha, &folder, None, crate::git::CheckoutLimits::default()).await.unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("a")).unwrap(), "2");
        assert_eq!(std::fs::read_to_string(folder.join("b")).unwrap(), "2");
    }

    #[tokio::test]
    async fn conflicts_are_listed_and_nothing_moves() {
        let fixture = Fixture::new().await;
        let repo = fixture.bare("conflict").await;
        fixture.commit(&repo, "main", &[("a", "1\n"), ("dir/ü b", "1\n"), ("c", "1\n")], "base").await;
        fork(&repo, "side").await;
        fixture.commit(&repo, "side", &[("a", "2\n"), ("dir/ü b", "2\n"), ("c", "2\n")], "side").await;
        let main = fixture.commit(&repo, "main", &[("a", "3\n"), ("dir/ü b", "3\n")], "main").await;
        let Err(GitError::Conflicts { conflicts }) = merge(&repo, "side", "main").await else { panic!() };
        let paths: Vec<_> = conflicts.iter().map(|c| c.path.as_str()).collect();
        assert_eq!(paths, ["a", "dir/ü b"]);
        assert!(conflicts[0].message.contains("Merge conflict in a"), "{conflicts:?}");
        assert_eq!(repo.head(&name("main")).await.unwrap(), Some(main));
        fixture.orphan(&repo, "alien", &[("z", "1")], "alien").await;
        let alien = merge(&repo, "alien", "main").await;
        assert!(matches!(alien, Err(GitError::Unrelated { .. })), "{alien:?}");
    }

    #[tokio::test]
    async fn a_preview_names_commits_files_and_modules() {
        let fixture = Fixture::new().await;
        let repo = fixture.bare("preview").await;
        let base = [("sale_x/__manifest__.py", "{}"), ("sale_x/models/a.py", "1\n"), ("README", "1\n")];
        fixture.commit(&repo, "main", &base, "base").await;
        fork(&repo, "side").await;
        let side = [("sale_x/models/a.py", "2\n"), ("addons/new_y/__manifest__.py", "{}"), ("README", "2\n")];
        fixture.commit(&repo, "side", &side, "side").await;
        fixture.commit(&repo, "main", &[("README", "3\n"), ("untouched", "1")], "main").await;
        let author = Author::platform();
        let asked = Merge { from: &name("side"), into: &name("main"), author: &author };
        let preview = repo.merge_preview(&asked).await.unwrap();
        assert_eq!((preview.commits_total, preview.files_total, preview.fast_forward), (1, 3, false));
        let modules: Vec<_> = preview.modules.iter().map(|m| (m.path.as_str(), m.files, m.new)).collect();
        assert_eq!(modules, [("addons/new_y", 1, true), ("sale_x", 1, false)]);
        assert_eq!(preview.conflicts.iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), ["README"]);
    }
}
