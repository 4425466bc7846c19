use super::live::Hub;
use app::state::{AppState, Site};
use axum::extract::FromRef;
use odooops::{
    audit::Refusals,
    config::Config,
    git::Repositories,
    node::{Authority, NodeError, Reach},
    urls::Urls,
};
use sqlx::PgPool;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What every handler can reach. Nothing in it must survive a restart.
#[derive(Clone)]
pub struct Web {
    pub pool: PgPool,
    pub config: Arc<Config>,
    pub repositories: Repositories,
    pub urls: Arc<Urls>,
    pub site: Arc<Site>,
    pub live: Hub,
    pub refusals: Refusals,
    /// Set when the process is asked to end: sockets and streams close, the browser comes back to the next one.
    pub ending: CancellationToken,
}

impl Web {
    pub fn new(
        config: Config,
        pool: PgPool,
        repositories: Repositories,
        build: String,
        ending: CancellationToken,
    ) -> Self {
        let site = Site {
            public_url: config.public_url(),
            base_domain: config.base_domain.clone(),
            data_dir: config.data_dir.clone(),
            build,
        };
        let urls = Urls::of(&config);
        Self {
            refusals: Refusals::new(pool.clone()),
            pool,
            repositories,
            urls: Arc::new(urls),
            site: Arc::new(site),
            config: Arc::new(config),
            live: Hub::new(),
            ending,
        }
    }

    /// What pages and server functions get.
    pub fn app(&self) -> AppState {
        AppState {
            pool: self.pool.clone(),
            site: Arc::clone(&self.site),
            urls: Arc::clone(&self.urls),
            repositories: self.repositories.clone(),
            config: Arc::clone(&self.config),
        }
    }

    /// The ways to workers, here and on other machines.
    pub fn reach(&self) -> Result<Reach, NodeError> {
        Reach::new(self.config.worker_socket(), Authority::own_keys(&self.config.secrets_dir())?)
    }

    pub fn is_https(&self) -> bool {
        self.urls.scheme == "https"
    }
}

impl FromRef<Web> for PgPool {
    fn from_ref(web: &Web) -> Self {
        web.pool.clone()
    }
}

impl FromRef<Web> for AppState {
    fn from_ref(web: &Web) -> Self {
        web.app()
    }
}
