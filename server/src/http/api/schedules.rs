//! What is done again and again.

use super::{
    super::{Identity, Web},
    Problem, ProblemBody,
    extract::{Json, Path, Query},
    projects::slug_of,
};
use axum::{Json as Answer, extract::State, http::StatusCode};
use odooops::{
    Error,
    id::ScheduleId,
    schedule::{NewSchedule, ScheduleChange, SchedulePreview, ScheduleRun, ScheduleView, service},
};
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// Slug or id. All there are, when left out: for the platform's administrators.
    project: Option<String>,
}

/// The schedules of a project, or all there are.
#[utoipa::path(get, path = "/schedules", tag = "schedules", params(Of),
    responses((status = 200, body = Vec<ScheduleView>), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody)))]
pub async fn list(
    State(web): State<Web>,
    identity: Identity,
    Query(of): Query<Of>,
) -> Result<Answer<Vec<ScheduleView>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    let slug = match &of.project {
        Some(project) => Some(slug_of(&mut txn, &identity.actor(), project).await?),
        None => None,
    };
    Ok(Answer(service::list(&mut txn, &identity.actor(), slug.as_ref()).await?))
}

/// Adds a schedule: of a project, or of the platform.
#[utoipa::path(post, path = "/schedules", tag = "schedules", request_body = NewSchedule,
    responses((status = 201, body = ScheduleView), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn create(
    State(web): State<Web>,
    identity: Identity,
    Json(new): Json<NewSchedule>,
) -> Result<(StatusCode, Answer<ScheduleView>), Problem> {
    let (mut txn, actor) = (identity.begin(&web).await?, identity.actor());
    let id = service::create_in_txn(&mut txn, &actor, &new).await?;
    let schedule = service::view(&mut txn, &actor, id).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok((StatusCode::CREATED, Answer(schedule)))
}

/// One schedule.
#[utoipa::path(get, path = "/schedules/{schedule}", tag = "schedules", params(("schedule" = ScheduleId, Path)),
    responses((status = 200, body = ScheduleView), (status = 404, body = ProblemBody)))]
pub async fn show(
    State(web): State<Web>,
    identity: Identity,
    Path(id): Path<ScheduleId>,
) -> Result<Answer<ScheduleView>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(service::view(&mut txn, &identity.actor(), id).await?))
}

/// Gives it another name or time, stops it, or lets it go on.
#[utoipa::path(patch, path = "/schedules/{schedule}", tag = "schedules", params(("schedule" = ScheduleId, Path)),
    request_body = ScheduleChange,
    responses((status = 200, body = ScheduleView), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn change(
    State(web): State<Web>,
    identity: Identity,
    Path(id): Path<ScheduleId>,
    Json(change): Json<ScheduleChange>,
) -> Result<Answer<ScheduleView>, Problem> {
    let (mut txn, actor) = (identity.begin(&web).await?, identity.actor());
    service::change_in_txn(&mut txn, &actor, id, &change).await?;
    let schedule = service::view(&mut txn, &actor, id).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(Answer(schedule))
}

/// Removes a schedule. What it has queued stays.
#[utoipa::path(delete, path = "/schedules/{schedule}", tag = "schedules", params(("schedule" = ScheduleId, Path)),
    responses((status = 204), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody)))]
pub async fn delete(
    State(web): State<Web>,
    identity: Identity,
    Path(id): Path<ScheduleId>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    service::delete_in_txn(&mut txn, &identity.actor(), id).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Does now what a schedule is for; when it is due next stays.
#[utoipa::path(post, path = "/schedules/{schedule}/run", tag = "schedules", params(("schedule" = ScheduleId, Path)),
    responses((status = 202, body = ScheduleRun), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody)))]
pub async fn run(
    State(web): State<Web>,
    identity: Identity,
    Path(id): Path<ScheduleId>,
) -> Result<(StatusCode, Answer<ScheduleRun>), Problem> {
    let mut txn = identity.begin(&web).await?;
    let done = service::run_now_in_txn(&mut txn, &identity.actor(), id).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok((StatusCode::ACCEPTED, Answer(done)))
}

/// What came of a schedule each time, the newest first.
#[utoipa::path(get, path = "/schedules/{schedule}/runs", tag = "schedules", params(("schedule" = ScheduleId, Path)),
    responses((status = 200, body = Vec<ScheduleRun>), (status = 404, body = ProblemBody)))]
pub async fn runs(
    State(web): State<Web>,
    identity: Identity,
    Path(id): Path<ScheduleId>,
) -> Result<Answer<Vec<ScheduleRun>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(service::history(&mut txn, &identity.actor(), id, 100).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Pattern {
    /// Minute, hour, day of month, month, day of week.
    cron: String,
    /// UTC, when left out.
    time_zone: Option<String>,
}

/// How a pattern reads, and the next three times.
#[utoipa::path(get, path = "/schedule-preview", tag = "schedules", params(Pattern),
    responses((status = 200, body = SchedulePreview), (status = 422, body = ProblemBody)))]
pub async fn preview(
    State(web): State<Web>,
    identity: Identity,
    Query(pattern): Query<Pattern>,
) -> Result<Answer<SchedulePreview>, Problem> {
    let mut txn = identity.begin(&web).await?;
    let zone = pattern.time_zone.as_deref().unwrap_or("UTC");
    Ok(Answer(service::preview(&mut txn, &identity.actor(), &pattern.cron, zone).await?))
}
