//! Sources from the console's machine, on another machine of the installation.

use super::{
    error::{GitError, Result},
    repository::Repository,
};
use crate::{branch::CommitSha, node::control::SourcesUrl};
use std::time::Duration;

const FETCH_TIMEOUT: Duration = Duration::from_secs(3600);

impl Repository {
    /// Gets one commit, without its history, into a repository that is a cache: made when it is not there.
    pub async fn fetch_from_node(&self, from: &SourcesUrl, commit: &CommitSha) -> Result<()> {
        if !self.exists() {
            self.init().await?;
        }
        if self.has_commit(commit).await? {
            return Ok(());
        }
        let text = |path: &std::path::Path| path.display().to_string();
        let command = self
            .command("fetch")
            .args(["--quiet", "--no-tags", "--no-recurse-submodules", "--force", "--no-write-fetch-head"])
            .args(["--no-auto-maintenance", "--depth=1"])
            .config("http.curloptResolve", &from.resolve)
            .config("http.sslCert", &text(&from.certificate))
            .config("http.sslKey", &text(&from.key))
            .config("http.sslCAInfo", &text(&from.authority))
            .config("http.sslVersion", "tlsv1.3")
            .config("http.proxy", "")
            // A ref of its own keeps it from being collected while it is checked out.
            .arg("--end-of-options")
            .arg(&from.url)
            .arg(format!("{commit}:refs/builds/{commit}"))
            .timeout(FETCH_TIMEOUT);
        command.run().await?;
        match self.has_commit(commit).await? {
            true => Ok(()),
            false => Err(GitError::CommitUnknown { sha: commit.to_string() }),
        }
    }
}
