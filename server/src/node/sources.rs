//! Sources for hosts, at `/git/<project id>.git`: reading only, and only of projects whose runs they hold.

use super::http::{Door, host};
use crate::http::{Problem, read_sources};
use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, Query, State},
    http::Request,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use odooops::{
    Error,
    id::ProjectId,
    node::{Guest, query},
};
use serde::Deserialize;

pub fn router() -> Router<Door> {
    Router::new()
        .route("/git/{repository}/info/refs", get(info_refs))
        .route("/git/{repository}/git-upload-pack", post(upload_pack))
}

#[derive(Deserialize)]
struct Asked {
    service: Option<String>,
}

async fn info_refs(
    State(door): State<Door>,
    Extension(guest): Extension<Guest>,
    Path(repository): Path<String>,
    Query(asked): Query<Asked>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    if asked.service.as_deref() != Some("git-upload-pack") {
        return Err(Problem(Error::forbidden("access.forbidden")));
    }
    read(&door, &guest, &repository, false, request).await
}

async fn upload_pack(
    State(door): State<Door>,
    Extension(guest): Extension<Guest>,
    Path(repository): Path<String>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    read(&door, &guest, &repository, true, request).await
}

async fn read(
    door: &Door,
    guest: &Guest,
    repository: &str,
    is_post: bool,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let host = host(guest)?;
    let id = repository.strip_suffix(".git").and_then(|id| id.parse::<ProjectId>().ok());
    let project = id.ok_or(Problem(Error::not_found("project")))?;
    let mut conn = door.pool.acquire().await.map_err(Error::from)?;
    // A project that is not theirs does not exist.
    if !query::may_fetch(&mut conn, host.id, project).await? {
        return Err(Problem(Error::not_found("project")));
    }
    drop(conn);
    Ok(read_sources(&door.repositories, project, is_post, request).await.into_response())
}
