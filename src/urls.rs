//! Where the console and the environments are reached.

use crate::project::Slug;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Urls {
    /// `http` or `https`.
    pub scheme: String,
    /// Host and, unless it is the scheme's own, port: `localhost:3000`.
    pub base_domain: String,
}

impl Urls {
    #[cfg(feature = "native")]
    pub fn of(config: &crate::config::Config) -> Self {
        Self { scheme: config.public_scheme.as_str().to_owned(), base_domain: config.base_domain.clone() }
    }

    pub fn console(&self) -> String {
        format!("{}://{}", self.scheme, self.base_domain)
    }

    pub fn environment(&self, hostname: &str) -> String {
        format!("{}://{hostname}.{}", self.scheme, self.base_domain)
    }

    pub fn repository(&self, slug: &Slug) -> String {
        format!("{}/git/{slug}.git", self.console())
    }

    pub fn run(&self, slug: &Slug, run: crate::id::RunId) -> String {
        format!("{}/projects/{slug}/builds/{run}", self.console())
    }
}
