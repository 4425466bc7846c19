use crate::{
    error::{Detail, Error},
    id::ProjectId,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a project in URLs, hostnames and on disk: a DNS label of at most 40 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

impl Slug {
    pub const MAX: usize = 40;

    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |code| Err(Error::invalid("slug", Detail::new(code).with("value", text)));
        if text.is_empty() || text.len() > Self::MAX {
            return refuse("slug.length");
        }
        let label = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !label || text.starts_with('-') || text.ends_with('-') || text.contains("--") {
            return refuse("slug.characters");
        }
        if text.parse::<uuid::Uuid>().is_ok() {
            return refuse("slug.uuid");
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Slug {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

/// What the list of projects shows of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct ProjectSummary {
    pub id: ProjectId,
    pub slug: Slug,
    pub name: String,
    pub odoo_series: String,
    /// The URL that the project is fetched from; None when its own repository is the source.
    pub remote_url: Option<String>,
    /// Why the last fetch from there failed; None when it did not.
    pub fetch_error: Option<String>,
    /// What a host must have to do its runs.
    #[serde(default)]
    pub required_labels: Vec<String>,
    pub branches: i64,
    pub running_environments: i64,
    pub active_runs: i64,
    pub last_activity_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slug_is_a_dns_label() {
        for good in ["demo", "a", "acme-19", "0x"] {
            assert!(Slug::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(41);
        for bad in ["", "-a", "a-", "a--b", "A", "a_b", "a.b", "../etc", "a b", "é", &long] {
            assert!(Slug::parse(bad).is_err(), "{bad}");
        }
        assert!(Slug::parse("0192f0c1-2345-7890-abcd-ef0123456789").is_err());
    }
}
