//! Submodules, without `git submodule`: that command runs shell scripts and configuration of the tree. We read
//! `.gitmodules` as data, judge each URL, and fetch the named commit into a bare cache of the project.

use super::{
    error::{GitError, Result},
    repository::Repository,
    tree::Tree,
    url::GitUrl,
};
use crate::branch::CommitSha;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fs};

/// A submodule that was checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submodule {
    /// Below the root of the checkout.
    pub path: String,
    pub url: String,
    pub commit: CommitSha,
}

/// `.gitmodules` of a tree with hundreds of submodules stays below this.
const GITMODULES_LIMIT: usize = 1 << 20;

impl Repository {
    /// The URL of each submodule path, as `.gitmodules` writes it.
    pub(super) async fn submodule_urls(
        &self,
        commit: &CommitSha,
        tree: &Tree,
    ) -> Result<HashMap<String, String>> {
        let mut urls = HashMap::new();
        if !tree.has_gitmodules {
            return Ok(urls);
        }
        let blob = format!("{commit}:.gitmodules");
        let command = self.command("config").args(["--no-includes", "--blob", &blob, "--null", "--list"]);
        let text = command.output_limit(GITMODULES_LIMIT).run_text().await?;
        let mut by_name: HashMap<&str, (Option<&str>, Option<&str>)> = HashMap::new();
        for entry in text.split('\0') {
            // `submodule.<name>.<key>\n<value>`; the name may hold dots.
            let Some((key, value)) = entry.split_once('\n') else { continue };
            let Some((name, key)) = key.strip_prefix("submodule.").and_then(|rest| rest.rsplit_once('.'))
            else {
                continue;
            };
            let found = by_name.entry(name).or_default();
            match key {
                "path" => found.0 = Some(value),
                "url" => found.1 = Some(value),
                _ => {}
            }
        }
        for (path, url) in by_name.into_values() {
            if let (Some(path), Some(url)) = (path, url) {
                urls.insert(path.trim_end_matches('/').to_owned(), url.to_owned());
            }
        }
        Ok(urls)
    }

    /// The project's cache of a URL, holding the commit. Fetched when it does not; one fetch per cache at a time.
    pub(super) async fn submodule_cache(&self, url: &GitUrl, commit: &CommitSha) -> Result<Repository> {
        let digest = Sha256::digest(url.to_string().as_bytes());
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let cache = Repository {
            git: self.git.clone(),
            path: self.modules.join(format!("{name}.git")),
            modules: self.modules.clone(),
        };
        fs::create_dir_all(&self.modules).map_err(GitError::io(&self.modules))?;
        let lock_path = self.modules.join(format!("{name}.lock"));
        let lock = fs::File::create(&lock_path).map_err(GitError::io(&lock_path))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
            .await
            .map_err(std::io::Error::other)
            .and_then(|locked| locked)
            .map_err(GitError::io(&lock_path))?;
        if !cache.exists() {
            cache.init().await?;
        }
        cache.fetch_commit(url, commit).await?;
        drop(lock);
        Ok(cache)
    }
}
