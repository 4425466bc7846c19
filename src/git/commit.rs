//! Commits in one line.

use super::{
    error::{GitError, Result},
    repository::Repository,
};
use crate::branch::{CommitLine, CommitSha};
use chrono::DateTime;

/// The same four fields as the two formatters spell them: hash, subject, author, author's time.
pub(super) struct Fields {
    pub for_each_ref: &'static str,
    pub log: &'static str,
}

pub(super) const FIELDS: Fields = Fields {
    for_each_ref: "%(objectname)%00%(contents:subject)%00%(authorname)%00%(authordate:unix)",
    log: "%H%x00%s%x00%aN%x00%at",
};

pub(super) fn sha(what: &'static str, text: &str) -> Result<CommitSha> {
    CommitSha::parse(text.trim()).map_err(|_| GitError::Unexpected { what, found: shown(text) })
}

/// Reads what [`FIELDS`] wrote.
pub(super) fn parse(what: &'static str, line: &str) -> Result<CommitLine> {
    let unexpected = || GitError::Unexpected { what, found: shown(line) };
    let mut fields = line.split('\0');
    let mut next = || fields.next().ok_or_else(unexpected);
    let (hash, subject, author, time) = (next()?, next()?, next()?, next()?);
    // A forged time out of chrono's range is shown as the epoch rather than refusing the push.
    let seconds = time.trim().parse::<i64>().unwrap_or_default();
    Ok(CommitLine {
        sha: sha(what, hash)?,
        subject: shown(subject),
        author: shown(author),
        authored_at: DateTime::from_timestamp(seconds, 0).unwrap_or_default(),
    })
}

/// One line of at most 300 characters, without what would move a cursor or turn the reading direction.
fn shown(text: &str) -> String {
    let harmless = |c: &char| {
        !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.trim().chars().filter(harmless).take(300).collect()
}

impl Repository {
    /// The commit in one line.
    pub async fn commit(&self, commit: &CommitSha) -> Result<CommitLine> {
        let format = format!("--format={}", FIELDS.log);
        let command = self.command("log").args(["-1", "--no-show-signature", &format, "--end-of-options"]);
        let output = command.arg(format!("{commit}^{{commit}}")).arg("--").output().await?;
        match output.code {
            Some(0) => parse("log", &String::from_utf8_lossy(&output.stdout)),
            _ => Err(GitError::CommitUnknown { sha: commit.to_string() }),
        }
    }

    pub async fn has_commit(&self, commit: &CommitSha) -> Result<bool> {
        let output = self.command("cat-file").arg("-e").arg(format!("{commit}^{{commit}}")).output().await?;
        Ok(output.code == Some(0))
    }

    /// What `to` has that `from` has not, newest first, at most `limit`; all of `to` when `from` is None.
    pub async fn log_between(
        &self,
        from: Option<&CommitSha>,
        to: &CommitSha,
        limit: usize,
    ) -> Result<Vec<CommitLine>> {
        let format = format!("--format={}", FIELDS.log);
        let mut command = self.command("log").args(["--no-show-signature", &format]);
        command = command.arg(format!("--max-count={limit}")).arg(to.as_str());
        if let Some(from) = from {
            command = command.arg(format!("^{from}"));
        }
        let text = command.arg("--").run_text().await?;
        text.lines().map(|line| parse("log", line)).collect()
    }

    /// How many commits `to` has that `from` has not.
    pub async fn count_between(&self, from: &CommitSha, to: &CommitSha) -> Result<u64> {
        let command = self.command("rev-list").arg("--count").arg(to.as_str()).arg(format!("^{from}"));
        let text = command.arg("--").run_text().await?;
        text.trim().parse().map_err(|_| GitError::Unexpected { what: "rev-list", found: text.clone() })
    }

    /// Whether `descendant` holds everything that `ancestor` holds.
    pub async fn is_ancestor(&self, ancestor: &CommitSha, descendant: &CommitSha) -> Result<bool> {
        let command = self.command("merge-base").arg("--is-ancestor");
        let output = command.arg(ancestor.as_str()).arg(descendant.as_str()).output().await?;
        match output.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            code => Err(GitError::Failed { what: "merge-base", code, stderr: output.stderr }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;

    #[tokio::test]
    async fn log_between_two_commits() {
        let fixture = Fixture::new().await;
        let repo = fixture.bare("log").await;
        let one = fixture.commit(&repo, "main", &[("a", "1")], "one").await;
        fixture.commit(&repo, "main", &[("a", "2")], "two").await;
        let three = fixture.commit(&repo, "main", &[("a", "3")], "three").await;
        let between = repo.log_between(Some(&one), &three, 10).await.unwrap();
        assert_eq!(between.iter().map(|c| c.subject.as_str()).collect::<Vec<_>>(), ["three", "two"]);
        assert_eq!(repo.log_between(None, &three, 1).await.unwrap().len(), 1);
        assert_eq!(repo.count_between(&one, &three).await.unwrap(), 2);
        assert!(repo.is_ancestor(&one, &three).await.unwrap());
        assert!(!repo.is_ancestor(&three, &one).await.unwrap());
        let unknown = CommitSha::parse(&"a".repeat(40)).unwrap();
        assert!(matches!(repo.commit(&unknown).await, Err(GitError::CommitUnknown { .. })));
        assert!(!repo.has_commit(&unknown).await.unwrap());
    }

    #[tokio::test]
    async fn hostile_texts_lose_what_moves_the_cursor() {
        let fixture = Fixture::new().await;
        let repo = fixture.bare("hostile").await;
        let sha = fixture.commit(&repo, "main", &[("a", "1")], "red \u{1b}[31m\u{202e}evil\u{7}").await;
        assert_eq!(repo.commit(&sha).await.unwrap().subject, "red [31mevil");
    }
}
