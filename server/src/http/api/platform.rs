//! The platform as its administrators see it: status, queue, hosts and workers.

use super::{
    super::{Identity, Web},
    Problem, ProblemBody,
    extract::{Json, Path, Query},
};
use axum::{Json as Answer, extract::State, http::StatusCode};
use odooops::{
    Error,
    host::{self, HostView, WorkerView},
    id::{HostId, QuarantineId, ReconcilerRequestId, RunId},
    reconcile::{self, DryRun, Quarantined},
    run::backlog::{self, Backlog},
    status::{self, Status},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How the platform is, with what should be seen to.
#[utoipa::path(get, path = "/status", tag = "platform",
    responses((status = 200, body = Status), (status = 403, body = ProblemBody)))]
pub async fn status(State(web): State<Web>, identity: Identity) -> Result<Answer<Status>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(status::service::status(&mut txn, &identity.actor()).await?))
}

/// How many runs of all projects have not ended, and the first 500 of them with what they wait for: what is under way,
/// then the others in the order in which they are taken.
#[utoipa::path(get, path = "/queue", tag = "platform",
    responses((status = 200, body = Backlog), (status = 403, body = ProblemBody)))]
pub async fn queue(State(web): State<Web>, identity: Identity) -> Result<Answer<Backlog>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(backlog::service::list(&mut txn, &identity.actor()).await?))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PriorityRequest {
    /// From -100 to 100. Higher goes first; runs begin with 0.
    pub priority: i32,
}

/// Lets a queued run go earlier or later than others.
#[utoipa::path(post, path = "/runs/{run}/priority", tag = "platform", params(("run" = RunId, Path)),
    request_body = PriorityRequest,
    responses((status = 204), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn set_priority(
    State(web): State<Web>,
    identity: Identity,
    Path(run): Path<RunId>,
    Json(request): Json<PriorityRequest>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    backlog::service::set_priority_in_txn(&mut txn, &identity.actor(), run, request.priority).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The machines that environments run on.
#[utoipa::path(get, path = "/hosts", tag = "platform",
    responses((status = 200, body = Vec<HostView>), (status = 403, body = ProblemBody)))]
pub async fn hosts(State(web): State<Web>, identity: Identity) -> Result<Answer<Vec<HostView>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(host::service::list(&mut txn, &identity.actor()).await?))
}

/// The processes that take runs.
#[utoipa::path(get, path = "/workers", tag = "platform",
    responses((status = 200, body = Vec<WorkerView>), (status = 403, body = ProblemBody)))]
pub async fn workers(State(web): State<Web>, identity: Identity) -> Result<Answer<Vec<WorkerView>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(host::service::workers(&mut txn, &identity.actor()).await?))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DrainRequest {
    /// False: it takes runs again.
    pub drain: bool,
}

/// Has a worker finish what it holds and take nothing more, or take runs again.
#[utoipa::path(post, path = "/workers/{worker}/drain", tag = "platform", params(("worker" = String, Path)),
    request_body = DrainRequest,
    responses((status = 204), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
pub async fn drain(
    State(web): State<Web>,
    identity: Identity,
    Path(worker): Path<String>,
    Json(request): Json<DrainRequest>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    host::service::drain_in_txn(&mut txn, &identity.actor(), &worker, request.drain).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets a worker that is silent and holds neither runs nor environments, with its host when no other worker speaks
/// for that.
#[utoipa::path(delete, path = "/workers/{worker}", tag = "platform", params(("worker" = String, Path)),
    responses((status = 204), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody)))]
pub async fn forget(
    State(web): State<Web>,
    identity: Identity,
    Path(worker): Path<String>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    host::service::forget_in_txn(&mut txn, &identity.actor(), &worker).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a host act again that only reports since the ops database was restored. First look at what it would remove.
#[utoipa::path(post, path = "/hosts/{host}/confirm", tag = "platform", params(("host" = HostId, Path)),
    responses((status = 204), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody)))]
pub async fn confirm(
    State(web): State<Web>,
    identity: Identity,
    Path(host): Path<HostId>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    reconcile::service::confirm_epoch_in_txn(&mut txn, &identity.actor(), host).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DryRunRequest {
    /// All hosts, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
}

/// Asks hosts what they would remove, and why. Each answers under the id that it is given here.
#[utoipa::path(post, path = "/dry-runs", tag = "platform", request_body = DryRunRequest,
    responses((status = 202, body = Vec<ReconcilerRequestId>), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody)))]
pub async fn request_dry_run(
    State(web): State<Web>,
    identity: Identity,
    Json(request): Json<DryRunRequest>,
) -> Result<(StatusCode, Answer<Vec<ReconcilerRequestId>>), Problem> {
    let mut txn = identity.begin(&web).await?;
    let actor = identity.actor();
    let ids = reconcile::service::request_dry_run_in_txn(&mut txn, &actor, request.host).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok((StatusCode::ACCEPTED, Answer(ids)))
}

/// What a host would do, once it has answered.
#[utoipa::path(get, path = "/dry-runs/{request}", tag = "platform", params(("request" = ReconcilerRequestId, Path)),
    responses((status = 200, body = DryRun), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
pub async fn dry_run(
    State(web): State<Web>,
    identity: Identity,
    Path(request): Path<ReconcilerRequestId>,
) -> Result<Answer<DryRun>, Problem> {
    let mut txn = identity.begin(&web).await?;
    let mut found = reconcile::service::dry_runs(&mut txn, &identity.actor(), &[request]).await?;
    Ok(Answer(found.pop().ok_or(Error::not_found("not_found"))?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Ended {
    /// Also what was deleted or put back.
    #[serde(default)]
    ended: bool,
}

/// Data without an owner, out of the way until it is deleted or put back.
#[utoipa::path(get, path = "/quarantine", tag = "platform", params(Ended),
    responses((status = 200, body = Vec<Quarantined>), (status = 403, body = ProblemBody)))]
pub async fn quarantine(
    State(web): State<Web>,
    identity: Identity,
    Query(Ended { ended }): Query<Ended>,
) -> Result<Answer<Vec<Quarantined>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(reconcile::service::quarantine(&mut txn, &identity.actor(), ended).await?))
}

/// Has it put back under the name that it had.
#[utoipa::path(post, path = "/quarantine/{id}/restore", tag = "platform", params(("id" = QuarantineId, Path)),
    responses((status = 202), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
pub async fn restore(
    State(web): State<Web>,
    identity: Identity,
    Path(id): Path<QuarantineId>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    reconcile::service::restore_quarantined_in_txn(&mut txn, &identity.actor(), id).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeletionRequest {
    /// What it was called: repeated, so that nobody deletes the wrong one.
    pub name: String,
}

/// Has it deleted for good, production's too.
#[utoipa::path(post, path = "/quarantine/{id}/delete", tag = "platform", params(("id" = QuarantineId, Path)),
    request_body = DeletionRequest,
    responses((status = 202), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 422, body = ProblemBody)))]
pub async fn delete(
    State(web): State<Web>,
    identity: Identity,
    Path(id): Path<QuarantineId>,
    Json(request): Json<DeletionRequest>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    reconcile::service::delete_quarantined_in_txn(&mut txn, &identity.actor(), id, &request.name).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::ACCEPTED)
}
