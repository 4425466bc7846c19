//! Fetching from a repository somewhere else.

use super::{
    command::{Git, GitCommand},
    error::{GitError, Result},
    network,
    repository::Repository,
    url::{GitUrl, Scheme},
};
use crate::branch::CommitSha;
use std::{net::IpAddr, time::Duration};

/// Odoo's own repository takes many minutes on a slow line.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3600);

/// People wait for it.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

impl Repository {
    /// Makes our branches those of the URL: new ones appear, deleted ones go, forced ones follow.
    pub async fn fetch(&self, url: &GitUrl) -> Result<()> {
        let refspecs = ["+refs/heads/*:refs/heads/*"];
        self.fetch_refs(url, &["--prune"], &refspecs).await
    }

    /// Gets one commit: alone where the host serves commits by hash, else with all branches and tags.
    pub(super) async fn fetch_commit(&self, url: &GitUrl, commit: &CommitSha) -> Result<()> {
        if self.has_commit(commit).await? {
            return Ok(());
        }
        let alone = self.fetch_refs(url, &["--depth=1"], &[commit.as_str()]).await;
        if self.has_commit(commit).await? {
            return Ok(());
        }
        // The host or the way to it is the trouble: asking for more would not help.
        if let Err(
            error @ (GitError::HostRefused { .. } | GitError::HostUnknown { .. } | GitError::TimedOut { .. }),
        ) = alone
        {
            return Err(error);
        }
        let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        self.fetch_refs(url, &["--prune"], &all).await?;
        match self.has_commit(commit).await? {
            true => Ok(()),
            false => Err(GitError::CommitUnknown { sha: commit.to_string() }),
        }
    }

    async fn fetch_refs(&self, url: &GitUrl, options: &[&str], refspecs: &[&str]) -> Result<()> {
        let addresses = network::resolve(url, self.git.settings().allow_private_hosts).await?;
        let command = self.command("fetch").args(["--quiet", "--no-tags", "--no-recurse-submodules"]);
        let command =
            command.args(["--force", "--no-write-fetch-head", "--no-auto-maintenance"]).args(options);
        let command = pin(command, url, &addresses).timeout(FETCH_TIMEOUT);
        let command = command.arg("--end-of-options").arg(url.to_string()).args(refspecs);
        command.run().await.map(drop)
    }
}

impl Git {
    /// Whether there is a repository that we may read.
    pub async fn look_at(&self, url: &GitUrl) -> Result<()> {
        let addresses = network::resolve(url, self.settings().allow_private_hosts).await?;
        let command = pin(self.command("ls-remote").args(["--quiet", "--heads"]), url, &addresses);
        let command = command.timeout(LOOK_TIMEOUT).arg("--end-of-options").arg(url.to_string());
        match command.run().await {
            Ok(_) => Ok(()),
            // Git's first line says it; what follows is advice for a terminal.
            Err(GitError::Failed { stderr, .. }) => {
                let line = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("git says nothing");
                let reason = line.trim().trim_start_matches("fatal: ").chars().take(300).collect();
                Err(GitError::Unreadable { reason })
            }
            Err(error) => Err(error),
        }
    }
}

/// Holds the connection to the addresses that were judged.
fn pin(command: GitCommand, url: &GitUrl, addresses: &[IpAddr]) -> GitCommand {
    let bracketed = |address: &IpAddr| match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    match url.scheme() {
        Scheme::Https => {
            let list = addresses.iter().map(bracketed).collect::<Vec<_>>().join(",");
            command.config("http.curloptResolve", &format!("{}:{}:{list}", url.host(), url.port()))
        }
        Scheme::Ssh => match addresses.iter().find(|a| a.is_ipv4()).or(addresses.first()) {
            // Read by the link `ops-ssh`.
            Some(address) => {
                command.env("OPS_SSH_ADDRESS", address.to_string()).env("OPS_SSH_HOST", url.host())
            }
            None => command,
        },
        Scheme::File => command,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;
    use crate::branch::BranchName;

    fn file_url(repo: &Repository) -> GitUrl {
        GitUrl::parse(&format!("file://{}", repo.path().display()), true).unwrap()
    }

    #[tokio::test]
    async fn branches_follow_the_remote() {
        let fixture = Fixture::with_file().await;
        let remote = fixture.bare("remote").await;
        let ours = fixture.bare("ours").await;
        fixture.commit(&remote, "main", &[("a", "1")], "one").await;
        let gone = fixture.commit(&remote, "gone", &[("a", "2")], "two").await;
        ours.fetch(&file_url(&remote)).await.unwrap();
        assert_eq!(ours.heads().await.unwrap().len(), 2);
        let name = BranchName::parse("gone").unwrap();
        remote.update_branch(&name, None, Some(&gone), "test").await.unwrap();
        let forced = fixture.orphan(&remote, "main", &[("b", "1")], "rewritten").await;
        ours.fetch(&file_url(&remote)).await.unwrap();
        let heads = ours.heads().await.unwrap();
        assert_eq!(heads.len(), 1);
        assert_eq!(heads[0].1.sha, forced);
    }

    #[tokio::test]
    async fn one_commit_alone() {
        let fixture = Fixture::with_file().await;
        let remote = fixture.bare("remote").await;
        let ours = fixture.bare("ours").await;
        let old = fixture.commit(&remote, "main", &[("a", "1")], "one").await;
        fixture.commit(&remote, "main", &[("a", "2")], "two").await;
        ours.fetch_commit(&file_url(&remote), &old).await.unwrap();
        assert!(ours.has_commit(&old).await.unwrap());
        let unknown = CommitSha::parse(&"b".repeat(40)).unwrap();
        let outcome = ours.fetch_commit(&file_url(&remote), &unknown).await;
        assert!(matches!(outcome, Err(GitError::CommitUnknown { .. })), "{outcome:?}");
    }

    /// Even a URL that got past the parser meets git's own refusal.
    #[tokio::test]
    async fn git_itself_refuses_other_transports() {
        let fixture = Fixture::new().await;
        let remote = fixture.bare("remote").await;
        let ours = fixture.bare("ours").await;
        let marker = fixture.path().join("pwned");
        let ext = format!("ext::touch {}", marker.display());
        let file = format!("file://{}", remote.path().display());
        for url in [ext.as_str(), file.as_str(), "http://127.0.0.1:9/x", "git://127.0.0.1:9/x"] {
            let outcome = ours.command("fetch").arg("--end-of-options").arg(url).run().await;
            let Err(GitError::Failed { stderr, .. }) = outcome else { panic!("{url}: {outcome:?}") };
            assert!(stderr.contains("not allowed"), "{url}: {stderr}");
        }
        assert!(!marker.exists());
    }

    /// Decided before any connection: nothing listens there, and nothing is asked.
    #[tokio::test]
    async fn private_hosts_are_refused() {
        let fixture = Fixture::new().await;
        let ours = fixture.bare("ours").await;
        for url in ["https://127.0.0.1:9/x.git", "ssh://git@localhost:9/x.git", "git@127.0.0.1:x.git"] {
            let outcome = ours.fetch(&GitUrl::parse(url, false).unwrap()).await;
            assert!(matches!(outcome, Err(GitError::HostRefused { .. })), "{url}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn the_connection_is_pinned_to_the_judged_addresses() {
        let fixture = Fixture::new().await;
        let url = GitUrl::parse("https://example.com/x.git", false).unwrap();
        let addresses = ["1.1.1.1".parse().unwrap(), "2606:4700::1".parse().unwrap()];
        let command = pin(fixture.git.command("config"), &url, &addresses);
        let value = command.args(["--get", "http.curloptResolve"]).run_text().await.unwrap();
        assert_eq!(value.trim(), "example.com:443:1.1.1.1,[2606:4700::1]");
    }
}
