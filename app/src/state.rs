//! What the server gives to every page and server function.

use odooops::{Result, config::Config, git::Repositories, node, urls::Urls};
use sqlx::PgPool;
use std::{path::PathBuf, sync::Arc};

/// Provided as a Leptos context for each request. Beside it stand the request's extensions, among them
/// `odooops::access::Actor` and `odooops::user::Me` when somebody is signed in.
#[derive(Clone)]
pub struct AppState {
    pub pool: PgPool,
    pub site: Arc<Site>,
    pub urls: Arc<Urls>,
    pub repositories: Repositories,
    pub config: Arc<Config>,
}

impl AppState {
    /// The ways to workers, here and on other machines.
    pub fn reach(&self) -> Result<node::Reach> {
        let keys = node::Authority::own_keys(&self.config.secrets_dir()).map_err(odooops::Error::internal)?;
        node::Reach::new(self.config.worker_socket(), keys).map_err(odooops::Error::internal)
    }
}

/// Where this installation lives.
#[derive(Debug, Clone)]
pub struct Site {
    /// Of the console, without a slash at the end: `http://localhost:3000`.
    pub public_url: String,
    /// Environments are `<name>.<base_domain>`.
    pub base_domain: String,
    pub data_dir: PathBuf,
    /// Differs between builds; page and server compare it.
    pub build: String,
}
