use super::{
    super::{Identity, Web},
    Problem, ProblemBody,
    extract::{Json, Path},
    projects::slug_of,
};
use axum::{Json as Answer, extract::State};
use odooops::{
    Error,
    access::Actor,
    branch::{self, BranchCard, BranchName, Moved, Target},
    project::Slug,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

/// The branches of a project with their latest builds, as on the board.
#[utoipa::path(get, path = "/projects/{project}/branches", tag = "branches",
    params(("project" = String, Path, description = "slug or id")),
    responses((status = 200, body = Vec<BranchCard>), (status = 404, body = ProblemBody)))]
pub async fn list(
    State(web): State<Web>,
    identity: Identity,
    Path(project): Path<String>,
) -> Result<Answer<Vec<BranchCard>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    let slug = slug_of(&mut txn, &identity.actor(), &project).await?;
    let board = branch::service::board(&mut txn, &identity.actor(), &slug, &web.urls).await?;
    Ok(Answer(board.branches))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MoveRequest {
    pub branch: BranchName,
    /// A stage, or another branch to merge into.
    pub target: Target,
    /// The staging branch that receives the merge when production is moved to staging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<BranchName>,
}

/// Moves a branch as a drop on the board does; the board's rules decide what it means.
#[utoipa::path(post, path = "/projects/{project}/moves", tag = "branches",
    params(("project" = String, Path, description = "slug or id")), request_body = MoveRequest,
    responses((status = 200, body = Moved), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody)))]
pub async fn move_branch(
    State(web): State<Web>,
    identity: Identity,
    Path(project): Path<String>,
    Json(request): Json<MoveRequest>,
) -> Result<Answer<Moved>, Problem> {
    let actor = identity.actor();
    let mut txn = identity.begin(&web).await?;
    let slug = slug_of(&mut txn, &identity.actor(), &project).await?;
    let id = card(&mut txn, &web, &actor, &slug, &request.branch).await?.id;
    // A merge takes git its time: no transaction is held meanwhile.
    drop(txn);
    let into = request.into.as_ref();
    let moved =
        branch::service::move_branch(&web.pool, &web.repositories, &actor, id, &request.target, into).await?;
    Ok(Answer(moved))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OnPushRequest {
    pub branch: BranchName,
    /// Whether a push is built, in the way of the branch's stage.
    pub build: bool,
}

/// Says whether pushes to a branch are built.
#[utoipa::path(post, path = "/projects/{project}/on-push", tag = "branches",
    params(("project" = String, Path, description = "slug or id")), request_body = OnPushRequest,
    responses((status = 200, body = BranchCard), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
pub async fn set_on_push(
    State(web): State<Web>,
    identity: Identity,
    Path(project): Path<String>,
    Json(request): Json<OnPushRequest>,
) -> Result<Answer<BranchCard>, Problem> {
    let actor = identity.actor();
    let mut txn = identity.begin(&web).await?;
    let slug = slug_of(&mut txn, &identity.actor(), &project).await?;
    let id = card(&mut txn, &web, &actor, &slug, &request.branch).await?.id;
    branch::service::set_build_on_push_in_txn(&mut txn, &actor, id, request.build).await?;
    let changed = card(&mut txn, &web, &actor, &slug, &request.branch).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(Answer(changed))
}

/// The branch of that name, for those who may see the project.
async fn card(
    conn: &mut PgConnection,
    web: &Web,
    actor: &Actor,
    project: &Slug,
    name: &BranchName,
) -> Result<BranchCard, Error> {
    let board = branch::service::board(conn, actor, project, &web.urls).await?;
    board.branches.into_iter().find(|card| card.name == *name).ok_or(Error::not_found("branch"))
}
