use super::{
    super::{Identity, Web},
    Problem, ProblemBody,
    extract::{Json, Path},
};
use axum::{Json as Answer, extract::State, http::StatusCode};
use odooops::{
    Error,
    access::Actor,
    audit,
    id::ProjectId,
    project::{self, ProjectSummary, Slug, service::NewProject},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

/// A path may name a project by slug or by id: a slug never reads as an id.
pub async fn slug_of(conn: &mut PgConnection, actor: &Actor, project: &str) -> odooops::Result<Slug> {
    match project.parse::<ProjectId>() {
        Ok(id) => project::query::slug_by_id(conn, id).await?.ok_or_else(|| {
            audit::note_unseen_project(actor, &id.to_string());
            Error::not_found("project")
        }),
        // What cannot be a slug names no project.
        Err(_) => Slug::parse(project).map_err(|_| Error::not_found("project")),
    }
}

/// The projects that one may see.
#[utoipa::path(get, path = "/projects", tag = "projects",
    responses((status = 200, body = Vec<ProjectSummary>), (status = 401, body = ProblemBody)))]
pub async fn list(
    State(web): State<Web>,
    identity: Identity,
) -> Result<Answer<Vec<ProjectSummary>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(project::service::list(&mut txn, &identity.actor()).await?))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProjectRequest {
    pub slug: Slug,
    /// The slug, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An existing Git repository to fetch from. Left out, the project gets one of its own to push to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_url: Option<String>,
}

/// Adds a project with a repository.
#[utoipa::path(post, path = "/projects", tag = "projects", request_body = ProjectRequest,
    responses((status = 201, body = ProjectSummary), (status = 403, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn create(
    State(web): State<Web>,
    identity: Identity,
    Json(request): Json<ProjectRequest>,
) -> Result<(StatusCode, Answer<ProjectSummary>), Problem> {
    let new = NewProject {
        name: request.name.unwrap_or_else(|| request.slug.to_string()),
        slug: request.slug,
        remote_url: request.remote_url,
    };
    let project = project::service::create(&web.pool, &web.repositories, &identity.actor(), &new).await?;
    Ok((StatusCode::CREATED, Answer(project)))
}

/// Adds the demo project when there is no project at all; null when there is one.
#[utoipa::path(post, path = "/demo-project", tag = "projects",
    responses((status = 200, body = Option<ProjectSummary>), (status = 403, body = ProblemBody)))]
pub async fn create_demo(
    State(web): State<Web>,
    identity: Identity,
) -> Result<Answer<Option<ProjectSummary>>, Problem> {
    Ok(Answer(project::demo::create_demo(&web.pool, &web.repositories, &identity.actor()).await?))
}

/// One project.
#[utoipa::path(get, path = "/projects/{project}", tag = "projects",
    params(("project" = String, Path, description = "slug or id")),
    responses((status = 200, body = ProjectSummary), (status = 404, body = ProblemBody)))]
pub async fn show(
    State(web): State<Web>,
    identity: Identity,
    Path(project): Path<String>,
) -> Result<Answer<ProjectSummary>, Problem> {
    let mut txn = identity.begin(&web).await?;
    let slug = slug_of(&mut txn, &identity.actor(), &project).await?;
    Ok(Answer(project::service::find_by_slug(&mut txn, &identity.actor(), &slug).await?))
}
