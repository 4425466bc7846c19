use super::{
    super::{Identity, Web},
    Problem, ProblemBody,
    extract::{Json, Path},
    projects::slug_of,
};
use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
};
use odooops::{
    Error,
    access::{Action, authorise},
    branch::{BranchName, CommitSha, Stage},
    environment::{self, EnvironmentSummary},
    id::{EnvironmentId, RunId},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The environments of a project.
#[utoipa::path(get, path = "/projects/{project}/environments", tag = "environments",
    params(("project" = String, Path, description = "slug or id")),
    responses((status = 200, body = Vec<EnvironmentSummary>), (status = 404, body = ProblemBody)))]
pub async fn list(
    State(web): State<Web>,
    identity: Identity,
    Path(project): Path<String>,
) -> Result<Answer<Vec<EnvironmentSummary>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    let slug = slug_of(&mut txn, &identity.actor(), &project).await?;
    Ok(Answer(environment::service::list(&mut txn, &identity.actor(), &slug, &web.urls).await?))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentRequest {
    /// Slug or id.
    pub project: String,
    /// Staging or development; production is built from its branch.
    pub kind: Stage,
    /// A branch, with or without `refs/heads/`.
    pub git_ref: String,
    /// The branch's head, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitSha>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Queued {
    pub run_id: RunId,
}

/// Queues the build of an environment.
#[utoipa::path(post, path = "/environments", tag = "environments", request_body = EnvironmentRequest,
    responses((status = 202, body = Queued), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 422, body = ProblemBody)))]
pub async fn create(
    State(web): State<Web>,
    identity: Identity,
    Json(request): Json<EnvironmentRequest>,
) -> Result<(StatusCode, Answer<Queued>), Problem> {
    let actor = identity.actor();
    let branch = BranchName::parse(request.git_ref.strip_prefix("refs/heads/").unwrap_or(&request.git_ref))?;
    let mut txn = identity.begin(&web).await?;
    let slug = slug_of(&mut txn, &identity.actor(), &request.project).await?;
    let project = odooops::project::service::resolve(&mut txn, &actor, &slug).await?;
    let commit = match &request.commit {
        Some(sha) => Some(web.repositories.of(project).commit(sha).await.map_err(Error::from)?),
        None => None,
    };
    let kind = request.kind;
    let run_id =
        environment::service::create_in_txn(&mut txn, &actor, &slug, kind, &branch, commit.as_ref()).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok((StatusCode::ACCEPTED, Answer(Queued { run_id })))
}

/// One environment.
#[utoipa::path(get, path = "/environments/{environment}", tag = "environments",
    params(("environment" = EnvironmentId, Path)),
    responses((status = 200, body = EnvironmentSummary), (status = 404, body = ProblemBody)))]
pub async fn show(
    State(web): State<Web>,
    identity: Identity,
    Path(id): Path<EnvironmentId>,
) -> Result<Answer<EnvironmentSummary>, Problem> {
    let mut txn = identity.begin(&web).await?;
    // Row level security shows it to the project's people only.
    let found = environment::query::summary(&mut txn, id, &web.urls).await?;
    let found = found.ok_or(Error::not_found("environment"))?;
    authorise(&mut txn, &identity.actor(), Action::ViewProject(found.project_id)).await?;
    Ok(Answer(found))
}

/// Removes an environment with its database and files.
#[utoipa::path(delete, path = "/environments/{environment}", tag = "environments",
    params(("environment" = EnvironmentId, Path)),
    responses((status = 202), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody)))]
pub async fn destroy(
    State(web): State<Web>,
    identity: Identity,
    Path(id): Path<EnvironmentId>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    environment::service::destroy_in_txn(&mut txn, &identity.actor(), id).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(StatusCode::ACCEPTED)
}

/// Shown to who may sign in; that they asked is in the audit log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AdminPassword {
    pub login: String,
    pub password: String,
}

/// How to sign in to the environment's Odoo as its administrator.
#[utoipa::path(get, path = "/environments/{environment}/admin-password", tag = "environments",
    params(("environment" = EnvironmentId, Path)),
    responses((status = 200, body = AdminPassword), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 503, body = ProblemBody)))]
pub async fn admin_password(
    State(web): State<Web>,
    identity: Identity,
    Path(environment): Path<EnvironmentId>,
) -> Result<([(header::HeaderName, &'static str); 1], Answer<AdminPassword>), Problem> {
    let reach = web.reach().map_err(Error::internal)?;
    let password =
        environment::service::admin_password(&web.pool, &identity.actor(), environment, &reach).await?;
    let answer = AdminPassword { login: "admin".to_owned(), password: password.expose_secret().to_owned() };
    Ok(([(header::CACHE_CONTROL, "no-store")], Answer(answer)))
}
