//! A commit's files in a folder of their own: no worktree, no `.git`, submodules included.
//!
//! Every object is judged before a byte is written: how much there is, where the links lead, where the submodules
//! come from. `git archive` is not used: attributes of the tree (`export-ignore`) would hide files.

use super::{
    error::{GitError, Result},
    repository::Repository,
    submodule::Submodule,
    symlink::Links,
    tree::Tree,
    url::GitUrl,
};
use crate::branch::CommitSha;
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// What a checkout may cost.
#[derive(Debug, Clone, Copy)]
pub struct CheckoutLimits {
    pub files: u64,
    pub bytes: u64,
    pub submodules: u64,
    /// How deep submodules may nest.
    pub depth: usize,
}

impl Default for CheckoutLimits {
    /// Odoo with all of its history of translations has 45,000 files and 1.2 GB.
    fn default() -> Self {
        Self { files: 400_000, bytes: 4 << 30, submodules: 200, depth: 5 }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    pub files: u64,
    pub bytes: u64,
    pub submodules: Vec<Submodule>,
}

/// A commit waiting to be written below the root.
struct Pending {
    repository: Repository,
    /// Where the repository came from, for relative submodule URLs.
    origin: Option<GitUrl>,
    commit: CommitSha,
    /// Below the root; empty for the commit itself.
    path: String,
    depth: usize,
}

impl Repository {
    /// Writes the commit into `folder`, which must be empty or missing. `origin` is the URL that the repository is
    /// fetched from, if any. After an error the folder holds a part and is the caller's to remove.
    pub async fn check_out(
        &self,
        commit: &CommitSha,
        folder: &Path,
        origin: Option<&GitUrl>,
        limits: CheckoutLimits,
    ) -> Result<Checkout> {
        fs::create_dir_all(folder).map_err(GitError::io(folder))?;
        if fs::read_dir(folder).map_err(GitError::io(folder))?.next().is_some() {
            return Err(GitError::NotEmpty { path: folder.to_owned() });
        }
        let mut done = Checkout { files: 0, bytes: 0, submodules: Vec::new() };
        let mut links = Links::default();
        let mut ready: Vec<Pending> = Vec::new();
        let mut pending = vec![Pending {
            repository: self.clone(),
            origin: origin.cloned(),
            commit: commit.clone(),
            path: String::new(),
            depth: 0,
        }];
        while let Some(next) = pending.pop() {
            let tree = next.repository.tree(&next.commit).await?;
            done.files += tree.files as u64 + tree.symlinks.len() as u64;
            done.bytes = done.bytes.saturating_add(tree.bytes);
            bounded("number of files", done.files, limits.files)?;
            bounded("number of bytes", done.bytes, limits.bytes)?;
            for (path, target) in next.repository.link_targets(&tree).await? {
                links.add(below(&next.path, &path), target);
            }
            for submodule in next.submodules(&tree, limits).await? {
                done.submodules.push(submodule.0);
                bounded("number of submodules", done.submodules.len() as u64, limits.submodules)?;
                pending.push(submodule.1);
            }
            ready.push(next);
        }
        links.check()?;
        // Outer trees first: they make the empty folders that the inner ones fill.
        ready.sort_by_key(|next| next.depth);
        for next in &ready {
            next.write(&folder.join(&next.path)).await?;
        }
        links.make(folder)?;
        done.submodules.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(done)
    }
}

fn bounded(what: &'static str, found: u64, limit: u64) -> Result<()> {
    if found > limit { Err(GitError::TooLarge { what, limit }) } else { Ok(()) }
}

fn below(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

impl Pending {
    /// Fetches the commits of this tree's submodules.
    async fn submodules(&self, tree: &Tree, limits: CheckoutLimits) -> Result<Vec<(Submodule, Pending)>> {
        let mut found = Vec::new();
        if tree.submodules.is_empty() {
            return Ok(found);
        }
        bounded("number of submodules", tree.submodules.len() as u64, limits.submodules)?;
        let urls = self.repository.submodule_urls(&self.commit, tree).await?;
        let settings = self.repository.git.settings();
        let mut seen = HashSet::new();
        for (path, commit) in &tree.submodules {
            let at = below(&self.path, path);
            let refuse = |reason| GitError::SubmoduleRefused { path: at.clone(), reason };
            if !harmless(path) || !seen.insert(path) {
                return Err(refuse("its path is not valid"));
            }
            if self.depth >= limits.depth {
                return Err(refuse("submodules are nested too deeply"));
            }
            let text = urls.get(path).ok_or_else(|| refuse(".gitmodules names no URL for it"))?;
            let failed = |source| GitError::Submodule {
                path: at.clone(),
                url: text.chars().take(200).collect(),
                source: Box::new(source),
            };
            let url = GitUrl::submodule(self.origin.as_ref(), text, settings.allow_file).map_err(failed)?;
            let cache = self.repository.submodule_cache(&url, commit).await.map_err(failed)?;
            let submodule = Submodule { path: at.clone(), url: url.to_string(), commit: commit.clone() };
            let inner = Pending {
                repository: cache,
                origin: Some(url),
                commit: commit.clone(),
                path: at.clone(),
                depth: self.depth + 1,
            };
            found.push((submodule, inner));
        }
        Ok(found)
    }

    /// Writes the tree. The index is a file beside the target, removed afterwards.
    async fn write(&self, folder: &Path) -> Result<()> {
        let index = IndexFile::beside(&self.repository)?;
        let command = |what| self.repository.command(what).env("GIT_INDEX_FILE", &index.0);
        command("read-tree").arg(self.commit.as_str()).run().await?;
        let command = command("checkout-index").env("GIT_WORK_TREE", folder).args(["--all", "--quiet"]);
        command.timeout(Duration::from_secs(1200)).run().await.map(drop)
    }
}

/// A path as git itself would check out: no way up, no `.git` of any spelling.
fn harmless(path: &str) -> bool {
    !path.starts_with('/')
        && path.split('/').all(|part| {
            let lower = part.to_ascii_lowercase();
            !part.is_empty()
                && part != "."
                && part != ".."
                && lower.trim_end_matches([' ', '.']) != ".git"
                && !lower.starts_with("git~")
                && !part.contains(['\\', '\0', '\u{fffd}'])
        })
}

struct IndexFile(PathBuf);

impl IndexFile {
    fn beside(repository: &Repository) -> Result<Self> {
        let folder = repository.path.join("ops");
        fs::create_dir_all(&folder).map_err(GitError::io(&folder))?;
        Ok(Self(folder.join(format!("index-{}", uuid::Uuid::now_v7()))))
    }
}

impl Drop for IndexFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests;
