//! Where runs may go and how many at a time: labels and limits, which administrators set.

use super::{
    super::{Identity, Web},
    Problem, ProblemBody,
    extract::{Json, Path},
    projects::slug_of,
};
use axum::{Json as Answer, extract::State, http::StatusCode};
use odooops::{
    Error, host,
    id::HostId,
    project::{self, ProjectSummary},
    run::{RunKind, backlog},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LabelsRequest {
    /// All of them; they replace what was there. At most 16.
    pub labels: Vec<String>,
}

/// Says what a host must have to do the project's runs, those included that wait.
#[utoipa::path(post, path = "/projects/{project}/labels", tag = "projects",
    params(("project" = String, Path, description = "slug or id")), request_body = LabelsRequest,
    responses((status = 200, body = ProjectSummary), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn set_project_labels(
    State(web): State<Web>,
    identity: Identity,
    Path(project): Path<String>,
    Json(request): Json<LabelsRequest>,
) -> Result<Answer<ProjectSummary>, Problem> {
    let actor = identity.actor();
    let mut txn = identity.begin(&web).await?;
    let slug = slug_of(&mut txn, &identity.actor(), &project).await?;
    let id = project::service::resolve(&mut txn, &actor, &slug).await?;
    project::service::set_labels_in_txn(&mut txn, &actor, id, &request.labels).await?;
    let changed = project::service::find_by_slug(&mut txn, &actor, &slug).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(Answer(changed))
}

/// Says what a host has, for runs that ask for it. What is under way there stays.
#[utoipa::path(post, path = "/hosts/{host}/labels", tag = "hosts", params(("host" = HostId, Path)),
    request_body = LabelsRequest,
    responses((status = 204), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 422, body = ProblemBody)))]
pub async fn set_host_labels(
    State(web): State<Web>,
    identity: Identity,
    Path(host): Path<HostId>,
    Json(request): Json<LabelsRequest>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    host::service::set_labels_in_txn(&mut txn, &identity.actor(), host, &request.labels).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct HostLimitsRequest {
    /// As it is, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_free_memory_bytes: Option<i64>,
    /// As it is, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_free_disk_bytes: Option<i64>,
}

/// Says how much memory and disk must be free on a host for a run to begin there.
#[utoipa::path(post, path = "/hosts/{host}/limits", tag = "hosts", params(("host" = HostId, Path)),
    request_body = HostLimitsRequest,
    responses((status = 204), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 422, body = ProblemBody)))]
pub async fn set_host_limits(
    State(web): State<Web>,
    identity: Identity,
    Path(host): Path<HostId>,
    Json(request): Json<HostLimitsRequest>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    let (memory, disk) = (request.min_free_memory_bytes, request.min_free_disk_bytes);
    host::service::set_limits_in_txn(&mut txn, &identity.actor(), host, memory, disk).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KindLimitRequest {
    pub kind: RunKind,
    /// How many may be under way at once, on all hosts together; null lifts the limit.
    // Not to be lifted by leaving it out.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    pub max_running: Option<i32>,
}

/// Says how many runs of a kind may be under way at once. What is under way already goes on.
#[utoipa::path(post, path = "/queue/limits", tag = "platform", request_body = KindLimitRequest,
    responses((status = 204), (status = 403, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn set_kind_limit(
    State(web): State<Web>,
    identity: Identity,
    Json(request): Json<KindLimitRequest>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    let (kind, max) = (request.kind, request.max_running);
    backlog::service::set_limit_in_txn(&mut txn, &identity.actor(), kind, max).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}
