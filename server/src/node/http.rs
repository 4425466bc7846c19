//! What the node listener answers over HTTP: to strangers, joining and nothing else; to hosts, sources and images.

use super::sources;
use crate::http::Problem;
use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Query, State},
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use odooops::{
    Error,
    config::Config,
    error::Detail,
    git::Repositories,
    node::{
        Authority, Guest, Reach,
        join::{self, JoinRequest, Joined},
        query::Host,
    },
};
use serde::Deserialize;
use sqlx::PgPool;
use std::sync::Arc;

#[derive(Clone)]
pub struct Door {
    pub pool: PgPool,
    pub authority: Arc<Authority>,
    pub repositories: Repositories,
    pub reach: Reach,
    pub config: Arc<Config>,
}

pub fn router(door: Door, guest: Guest) -> Router {
    Router::new()
        .route(join::PATH, post(admit))
        .route("/health", get(async || "ok\n"))
        .route("/images", get(image))
        .layer(DefaultBodyLimit::max(16 << 10))
        .merge(sources::router())
        .layer(Extension(guest))
        .with_state(door)
}

/// Whoever this is has the token, or is refused.
async fn admit(State(door): State<Door>, Json(request): Json<JoinRequest>) -> Result<Json<Joined>, Problem> {
    let mut txn = door.pool.begin().await.map_err(Error::from)?;
    let joined = join::admit_in_txn(&mut txn, &door.authority, &request).await?;
    txn.commit().await.map_err(Error::from)?;
    tracing::info!(host = %joined.name, id = %joined.host, "a machine has joined");
    Ok(Json(joined))
}

/// The host that asks.
pub fn host(guest: &Guest) -> Result<&Host, Problem> {
    match guest {
        Guest::Host(host) => Ok(host),
        Guest::Stranger | Guest::Control => Err(Problem(Error::Unauthenticated)),
    }
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
}

/// An image that environments run, as `docker save` writes it. This machine's worker has Docker, we have not.
async fn image(
    State(door): State<Door>,
    Extension(guest): Extension<Guest>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    host(&guest)?;
    // Only what environments run: other images on this machine are nobody's business.
    if ![&door.config.odoo_image, &door.config.odoo_build_image].contains(&&wanted.name) {
        return Err(Problem(Error::NotFound { detail: Detail::new("image").with("name", &wanted.name) }));
    }
    let query = axum::http::Uri::builder()
        .path_and_query(format!("/images?name={}", urlencoded(&wanted.name)))
        .build()
        .map_err(Error::internal)?;
    let request = Request::get(query).header("host", "worker").body(Default::default());
    let request = request.map_err(Error::internal)?;
    let response = door.reach.send(None, request).await.map_err(|error| {
        tracing::warn!(%error, "the worker of this machine gives no image");
        Error::unavailable("worker")
    })?;
    match response.status() {
        StatusCode::OK => Ok(Response::new(Body::new(response.into_body()))),
        status => Ok((status, Body::new(response.into_body())).into_response()),
    }
}

/// A name of an image has letters, digits and a few signs; those that a query could misread are escaped.
fn urlencoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' | b':' | b'@' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
