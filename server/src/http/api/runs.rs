use super::{
    super::{Identity, Web},
    Problem, ProblemBody, Queued,
    extract::{Path, Query},
    projects::slug_of,
};
use axum::{Json as Answer, extract::State, http::StatusCode};
use odooops::{
    Error, branch,
    id::RunId,
    run::{self, Attempt, Event, RunSummary, RunView},
};
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Most {
    /// At most so many, newest first.
    #[serde(default = "fifty")]
    limit: i64,
}

fn fifty() -> i64 {
    50
}

/// The runs of a project, newest first.
#[utoipa::path(get, path = "/projects/{project}/runs", tag = "runs",
    params(("project" = String, Path, description = "slug or id"), Most),
    responses((status = 200, body = Vec<RunSummary>), (status = 404, body = ProblemBody)))]
pub async fn list(
    State(web): State<Web>,
    identity: Identity,
    Path(project): Path<String>,
    Query(most): Query<Most>,
) -> Result<Answer<Vec<RunSummary>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    let slug = slug_of(&mut txn, &identity.actor(), &project).await?;
    Ok(Answer(run::service::list(&mut txn, &identity.actor(), &slug, most.limit).await?))
}

/// One run with its steps.
#[utoipa::path(get, path = "/runs/{run}", tag = "runs", params(("run" = RunId, Path)),
    responses((status = 200, body = RunView), (status = 404, body = ProblemBody)))]
pub async fn show(
    State(web): State<Web>,
    identity: Identity,
    Path(run): Path<RunId>,
) -> Result<Answer<RunView>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(run::service::view(&mut txn, &identity.actor(), run, &web.urls).await?))
}

/// Everything that happened to a run, in order.
#[utoipa::path(get, path = "/runs/{run}/events", tag = "runs", params(("run" = RunId, Path)),
    responses((status = 200, body = Vec<Event>), (status = 404, body = ProblemBody)))]
pub async fn events(
    State(web): State<Web>,
    identity: Identity,
    Path(run): Path<RunId>,
) -> Result<Answer<Vec<Event>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(run::service::events(&mut txn, &identity.actor(), run).await?))
}

/// Every try of a run: who had it, and how that ended.
#[utoipa::path(get, path = "/runs/{run}/attempts", tag = "runs", params(("run" = RunId, Path)),
    responses((status = 200, body = Vec<Attempt>), (status = 404, body = ProblemBody)))]
pub async fn attempts(
    State(web): State<Web>,
    identity: Identity,
    Path(run): Path<RunId>,
) -> Result<Answer<Vec<Attempt>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(run::service::attempts(&mut txn, &identity.actor(), run).await?))
}

/// Does a run that has ended once more: the same commit, for the same stage.
#[utoipa::path(post, path = "/runs/{run}/retry", tag = "runs", params(("run" = RunId, Path)),
    responses((status = 202, body = Queued), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody)))]
pub async fn retry(
    State(web): State<Web>,
    identity: Identity,
    Path(run): Path<RunId>,
) -> Result<(StatusCode, Answer<Queued>), Problem> {
    let mut txn = identity.begin(&web).await?;
    let (_, run_id) = run::service::retry_in_txn(&mut txn, &identity.actor(), run).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok((StatusCode::ACCEPTED, Answer(Queued { run_id })))
}

/// Builds the branch of a run again: its latest commit, for the stage that the run was for.
#[utoipa::path(post, path = "/runs/{run}/rebuild", tag = "runs", params(("run" = RunId, Path)),
    responses((status = 202, body = Queued), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody)))]
pub async fn rebuild(
    State(web): State<Web>,
    identity: Identity,
    Path(run): Path<RunId>,
) -> Result<(StatusCode, Answer<Queued>), Problem> {
    let mut txn = identity.begin(&web).await?;
    let (_, run_id) = branch::service::rebuild_of_run_in_txn(&mut txn, &identity.actor(), run).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok((StatusCode::ACCEPTED, Answer(Queued { run_id })))
}

/// Ends a run: at once while it waits, within two seconds once a worker holds it.
#[utoipa::path(post, path = "/runs/{run}/cancel", tag = "runs", params(("run" = RunId, Path)),
    responses((status = 202), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody)))]
pub async fn cancel(
    State(web): State<Web>,
    identity: Identity,
    Path(run): Path<RunId>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    run::service::cancel_in_txn(&mut txn, &identity.actor(), run).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::ACCEPTED)
}
