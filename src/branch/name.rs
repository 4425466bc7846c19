use crate::error::{Detail, Error};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A git branch name without `refs/heads/`, as `git check-ref-format --branch` accepts it, at most 200 bytes,
/// and without the characters that a shell, a URL or a path would read as their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[serde(try_from = "String", into = "String")]
pub struct BranchName(String);

impl BranchName {
    pub const MAX: usize = 200;

    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |code| Err(Error::invalid("branch", Detail::new(code).with("value", shown(text))));
        if text.is_empty() || text.len() > Self::MAX {
            return refuse("branch.length");
        }
        let allowed =
            |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+' | '#' | '@' | '=' | ',');
        if !text.chars().all(allowed) {
            return refuse("branch.characters");
        }
        let bad_part = |part: &str| {
            part.is_empty() || part.starts_with('.') || part.ends_with(".lock") || part.ends_with('.')
        };
        if text.starts_with('-')
            || text == "@"
            || text == "HEAD"
            || text.contains("..")
            || text.split('/').any(bad_part)
        {
            return refuse("branch.format");
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full name of the ref.
    pub fn full(&self) -> String {
        format!("refs/heads/{}", self.0)
    }

    /// What of the name can stand in a hostname: lower-case letters, digits and single dashes, at most `max` long.
    pub fn label(&self, max: usize) -> String {
        let mut label = String::new();
        for c in self.0.chars().flat_map(char::to_lowercase) {
            if c.is_ascii_alphanumeric() {
                label.push(c);
            } else if !label.is_empty() && !label.ends_with('-') {
                label.push('-');
            }
            if label.len() >= max {
                break;
            }
        }
        let label = label.trim_end_matches('-');
        if label.is_empty() { "branch".to_owned() } else { label.to_owned() }
    }
}

/// At most 80 characters of hostile text, so that an error stays readable.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BranchName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<BranchName> for String {
    fn from(name: BranchName) -> Self {
        name.0
    }
}

/// A full commit hash: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[serde(try_from = "String", into = "String")]
pub struct CommitSha(String);

impl CommitSha {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex && (text.len() == 40 || text.len() == 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid("commit", Detail::new("commit.format").with("value", shown(text))))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The eight digits that people read.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl fmt::Display for CommitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CommitSha {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<CommitSha> for String {
    fn from(sha: CommitSha) -> Self {
        sha.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_branch_names_are_refused() {
        let long = "a".repeat(300);
        for bad in [
            "x; touch pwned $(id)",
            "../../etc",
            "a..b",
            "-x",
            "a b",
            "a~b",
            "a^b",
            "a:b",
            "a?b",
            "a*b",
            "a[b",
            "a\\b",
            "a//b",
            "/a",
            "a/",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "@",
            "HEAD",
            "a\nb",
            "`id`",
            "a|b",
            "$(id)",
            "",
            &long,
        ] {
            assert!(BranchName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["main", "feature-x", "19.0", "19.0-fix_y", "user/topic/deep", "fix#12", "größe"] {
            assert!(BranchName::parse(good).is_ok(), "{good:?}");
        }
    }

    proptest! {
        #[test]
        fn label_is_a_dns_label(name in "\\PC{1,60}") {
            if let Ok(name) = BranchName::parse(&name) {
                let label = name.label(30);
                prop_assert!(!label.is_empty() && label.len() <= 30);
                prop_assert!(!label.starts_with('-') && !label.ends_with('-') && !label.contains("--"));
                prop_assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            }
        }

        #[test]
        fn shell_characters_never_parse(prefix in "[a-z]{0,5}", c in "[;$`|&<>(){}'\"\n\r\t \\\\!*?~^:]", suffix in "[a-z]{0,5}") {
            let text = format!("{prefix}{c}{suffix}");
            prop_assert!(BranchName::parse(&text).is_err());
        }
    }
}
