//! The worker's private listener, `<data>/worker.sock`: what only a worker can do or see, for the console. Whoever can
//! open the socket is the console (mode 0600); on a joined machine its proxy does, for a caller whose certificate is
//! the console's machine's. Whether a person may have what is asked for, the console has asked before.

use super::{files, places::Places, shell};
use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use odooops::{config::Config, docker::Docker, id::EnvironmentId, run::job::admin_password};
use secrecy::ExposeSecret;
use serde::Deserialize;
use sqlx::PgPool;
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A shell in which nobody types and nothing is printed for so long is ended.
const IDLE: Duration = Duration::from_secs(30 * 60);

#[derive(Clone)]
pub struct Private {
    pub pool: PgPool,
    pub docker: Docker,
    pub config: Arc<Config>,
    pub shells: Places,
    pub idle: Duration,
    /// Ends the shells, because their worker ends.
    pub ending: CancellationToken,
    /// Those that have not ended yet.
    pub tracker: TaskTracker,
}

impl Private {
    pub fn new(pool: PgPool, docker: Docker, config: Arc<Config>, ending: CancellationToken) -> Self {
        let (shells, tracker) = (Places::default(), TaskTracker::new());
        Self { pool, docker, config, shells, idle: IDLE, ending, tracker }
    }
}

pub fn router(private: Private) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/environments/{environment}/admin-password", get(password))
        .route("/environments/{environment}/shell", get(shell::open))
        .route("/environments/{environment}/files", get(files::read))
        .route("/images", get(image))
        .with_state(private)
}

async fn health(State(private): State<Private>) -> Response {
    match private.docker.ping().await {
        Ok(()) => "ok\n".into_response(),
        Err(error) => failed(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}

async fn password(State(private): State<Private>, Path(environment): Path<EnvironmentId>) -> Response {
    match admin_password(&private.config, environment).await {
        Ok(Some(password)) => {
            ([(header::CACHE_CONTROL, "no-store")], password.expose_secret().to_owned()).into_response()
        }
        Ok(None) => (StatusCode::NOT_FOUND, "not on this machine\n").into_response(),
        Err(error) => failed(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
}

/// An image that environments run, for a machine that lacks it.
async fn image(State(private): State<Private>, Query(wanted): Query<Wanted>) -> Response {
    let config = &private.config;
    if ![&config.odoo_image, &config.odoo_build_image].contains(&&wanted.name) {
        return (StatusCode::NOT_FOUND, "not an image that environments run\n").into_response();
    }
    match private.docker.image_exists(&wanted.name).await {
        Ok(true) => Body::from_stream(private.docker.save_image(&wanted.name)).into_response(),
        Ok(false) => (StatusCode::NOT_FOUND, "there is no such image\n").into_response(),
        Err(error) => failed(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}

pub fn failed(status: StatusCode, error: &dyn std::fmt::Display) -> Response {
    tracing::warn!(%error, "the private listener refuses");
    (status, format!("{error}\n")).into_response()
}
