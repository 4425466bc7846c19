use super::{EnvironmentSummary, FilePath, query, shell::ShellRequest};
use crate::{
    Error, Result,
    access::{Action, Actor, Pushes, authorise, authorise_push, begin_as},
    audit,
    branch::{self, BranchName, CommitLine, Stage},
    error::Detail,
    id::{EnvironmentId, ProjectId, RunId},
    node::{self, NodeError, Reach, query::Whereabouts},
    project::{self, Slug},
    run::service::{NewBuild, queue_build_in_txn},
    urls::Urls,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

pub async fn list(
    conn: &mut PgConnection,
    actor: &Actor,
    slug: &Slug,
    urls: &Urls,
) -> Result<Vec<EnvironmentSummary>> {
    let project = project::service::resolve(conn, actor, slug).await?;
    query::list(conn, project, urls).await
}

/// Queues the build of an environment of some stage from a branch, at its head or at a commit that the caller
/// looked up in the repository.
pub async fn create_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    slug: &Slug,
    stage: Stage,
    branch: &BranchName,
    commit: Option<&CommitLine>,
) -> Result<RunId> {
    let project = project::service::resolve(conn, actor, slug).await?;
    authorise_push(conn, actor, project, branch.as_str(), Pushes::Commits).await?;
    if stage == Stage::Production {
        return Err(Error::conflict(Detail::new("environment.production_by_branch")));
    }
    let branches = branch::query::list(conn, project, true).await?;
    let known = branches.iter().find(|b| &b.name == branch);
    let commit = match (commit, known.and_then(|b| b.head.as_ref())) {
        (Some(commit), _) => commit,
        (None, Some(head)) => head,
        (None, None) => {
            return Err(Error::NotFound { detail: Detail::new("branch.unknown").with("branch", branch) });
        }
    };
    queue_build_in_txn(
        conn,
        actor,
        NewBuild { project, branch: known.map(|b| b.id), stage, git_ref: &branch.full(), commit },
    )
    .await
}

/// How to sign in to an environment's Odoo as its administrator. The worker of its host knows; that somebody asked is
/// written down first.
pub async fn admin_password(
    pool: &PgPool,
    actor: &Actor,
    id: EnvironmentId,
    reach: &Reach,
) -> Result<SecretString> {
    let there = connect(pool, actor, id, "environment.admin_password", json!({})).await?;
    let path = format!("/environments/{id}/admin-password");
    match reach.ask(there.as_ref(), &path).await {
        Ok(password) => Ok(password.into()),
        Err(NodeError::Refused(cause)) => {
            tracing::warn!(environment = %id, %cause, "no administrator's password");
            Err(Error::not_found("environment"))
        }
        Err(error) => {
            tracing::warn!(environment = %id, %error, "its worker does not answer");
            Err(Error::unavailable("worker"))
        }
    }
}

/// Authorises somebody to enter an environment, writes that down, and tells where its worker is.
pub async fn connect(
    pool: &PgPool,
    actor: &Actor,
    id: EnvironmentId,
    action: &'static str,
    detail: Value,
) -> Result<Option<Whereabouts>> {
    let mut txn = begin_as(pool, actor).await?;
    authorise(&mut txn, actor, Action::ConnectEnvironment(id)).await?;
    let there = node::query::whereabouts(&mut txn, id).await?;
    let project = sqlx::query_scalar!("select project_id from ops.environments where id = $1", id.0);
    let project = project.fetch_one(&mut *txn).await?;
    record_in_txn(&mut txn, id, Some(project.into()), action, detail).await?;
    txn.commit().await?;
    Ok(there)
}

async fn record_in_txn(
    conn: &mut PgConnection,
    id: EnvironmentId,
    project: Option<ProjectId>,
    action: &'static str,
    detail: Value,
) -> Result<()> {
    let object_id = id.to_string();
    audit::record_in_txn(
        conn,
        audit::Entry { action, object_type: "environment", object_id, project, detail },
    )
    .await
}

/// A session of somebody in an environment, from beginning to end.
#[derive(Debug, Clone)]
pub struct ShellSession {
    pub id: Uuid,
    pub actor: Actor,
    pub environment: EnvironmentId,
    project: ProjectId,
    /// Where its worker is.
    pub there: Option<Whereabouts>,
}

/// Authorises a shell and writes down that it begins.
pub async fn begin_shell(
    pool: &PgPool,
    actor: &Actor,
    id: EnvironmentId,
    request: &ShellRequest,
) -> Result<ShellSession> {
    let session = Uuid::now_v7();
    // Arguments may hold what is nobody's business; which program it was, is.
    let detail = json!({ "session": session, "program": request.program() });
    let there = connect(pool, actor, id, "environment.shell", detail).await?;
    let mut txn = begin_as(pool, actor).await?;
    let project = sqlx::query_scalar!("select project_id from ops.environments where id = $1", id.0);
    let project = project.fetch_one(&mut *txn).await?.into();
    txn.commit().await?;
    Ok(ShellSession { id: session, actor: *actor, environment: id, project, there })
}

/// Authorises reading of an environment's files, and writes down which.
pub async fn begin_reading(
    pool: &PgPool,
    actor: &Actor,
    id: EnvironmentId,
    path: &FilePath,
) -> Result<Option<Whereabouts>> {
    connect(pool, actor, id, "environment.files", json!({ "path": path.to_string() })).await
}

/// Whether somebody may still be in an environment.
pub async fn may_connect(pool: &PgPool, actor: &Actor, id: EnvironmentId) -> Result<()> {
    let mut txn = begin_as(pool, actor).await?;
    authorise(&mut txn, actor, Action::ConnectEnvironment(id)).await?;
    Ok(txn.commit().await?)
}

impl ShellSession {
    /// Writes down that it has ended, and why: also of somebody who has no right any more.
    pub async fn end(&self, pool: &PgPool, why: &str, exit_code: Option<i64>) -> Result<()> {
        let mut txn = begin_as(pool, self.actor).await?;
        // Who has lost the project writes into its log no more; the session leads from the one row to the other.
        let role = sqlx::query_scalar!("select ops.project_role($1)", self.project.0);
        let project = role.fetch_one(&mut *txn).await?.map(|_| self.project);
        let detail = json!({ "session": self.id, "why": why, "exit_code": exit_code });
        record_in_txn(&mut txn, self.environment, project, "environment.shell_end", detail).await?;
        Ok(txn.commit().await?)
    }
}

/// The worker of its host removes it.
pub async fn destroy_in_txn(conn: &mut PgConnection, actor: &Actor, id: EnvironmentId) -> Result<()> {
    authorise(conn, actor, Action::DestroyEnvironment(id)).await?;
    let row = sqlx::query!(
        "update ops.environments set state = 'destroying'
         where id = $1 and state in ('running', 'stopped', 'failed') returning project_id",
        id.0
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or_else(|| Error::conflict(Detail::new("environment.building")))?;
    sqlx::query!("select pg_notify('ops_environment', $1)", row.project_id.to_string())
        .fetch_one(&mut *conn)
        .await?;
    audit::record_in_txn(
        conn,
        audit::Entry {
            action: "environment.destroy",
            object_type: "environment",
            object_id: id.to_string(),
            project: Some(row.project_id.into()),
            detail: json!({}),
        },
    )
    .await
}
