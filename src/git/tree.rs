//! The entries of a commit's tree.

use super::{
    error::{GitError, Result},
    repository::Repository,
};
use crate::branch::CommitSha;
use std::collections::HashMap;

/// What a checkout looks at. Paths are relative to the tree's root, with slashes.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub files: usize,
    pub bytes: u64,
    /// Path and blob of each symbolic link.
    pub symlinks: Vec<(String, String)>,
    /// Path and commit of each submodule.
    pub submodules: Vec<(String, CommitSha)>,
    pub has_gitmodules: bool,
}

/// `ls-tree` of a tree with several hundred thousand files stays below this.
const LISTING_LIMIT: usize = 128 << 20;

/// No link has a longer target (PATH_MAX).
const TARGET_LIMIT: usize = 4096;

impl Repository {
    pub(super) async fn tree(&self, commit: &CommitSha) -> Result<Tree> {
        if !self.has_commit(commit).await? {
            return Err(GitError::CommitUnknown { sha: commit.to_string() });
        }
        let command = self.command("ls-tree").args(["-r", "-l", "-z", "--full-tree"]);
        let bytes = command.arg(commit.as_str()).output_limit(LISTING_LIMIT).run().await?;
        let mut tree = Tree::default();
        for entry in bytes.split(|b| *b == 0).filter(|entry| !entry.is_empty()) {
            let entry = String::from_utf8_lossy(entry);
            let unexpected = || GitError::Unexpected { what: "ls-tree", found: entry.to_string() };
            let (head, path) = entry.split_once('\t').ok_or_else(unexpected)?;
            let mut head = head.split_ascii_whitespace();
            let mut next = || head.next().ok_or_else(unexpected);
            let (mode, _kind, object, size) = (next()?, next()?, next()?, next()?);
            match mode {
                "120000" => tree.symlinks.push((path.to_owned(), object.to_owned())),
                "160000" => {
                    let sha = CommitSha::parse(object).map_err(|_| unexpected())?;
                    tree.submodules.push((path.to_owned(), sha));
                }
                _ => {
                    tree.files += 1;
                    tree.bytes = tree.bytes.saturating_add(size.parse().unwrap_or(0));
                    tree.has_gitmodules |= path == ".gitmodules";
                }
            }
        }
        Ok(tree)
    }

    /// Where the links of a tree point to, by path. A target that is no text, or too long, comes back as None.
    pub(super) async fn link_targets(&self, tree: &Tree) -> Result<HashMap<String, Option<String>>> {
        let mut targets = HashMap::new();
        if tree.symlinks.is_empty() {
            return Ok(targets);
        }
        let asked: String = tree.symlinks.iter().map(|(_, blob)| format!("{blob}\n")).collect();
        let limit = tree.symlinks.len().saturating_mul(TARGET_LIMIT + 100).min(LISTING_LIMIT);
        let command = self.command("cat-file").arg("--batch").stdin(asked).output_limit(limit);
        let answer = command.run().await?;
        let mut rest = answer.as_slice();
        for (path, _) in &tree.symlinks {
            let unexpected = || GitError::Unexpected { what: "cat-file", found: path.clone() };
            let end = rest.iter().position(|b| *b == b'\n').ok_or_else(unexpected)?;
            let (header, after) = rest.split_at(end);
            let size =
                std::str::from_utf8(header).ok().and_then(|text| text.rsplit(' ').next()?.parse().ok());
            let size: usize = size.ok_or_else(unexpected)?;
            let target = after.get(1..=size).ok_or_else(unexpected)?;
            rest = after.get(size + 2..).ok_or_else(unexpected)?;
            let text = std::str::from_utf8(target)
                .ok()
                .filter(|text| !text.is_empty() && text.len() < TARGET_LIMIT && !text.contains('\0'));
            targets.insert(path.clone(), text.map(str::to_owned));
        }
        Ok(targets)
    }
}
