use super::{EnvironmentSummary, query};
use crate::{
    Error, Result,
    access::{Action, Actor, Pushes, authorise, authorise_push, begin_as},
    audit,
    branch::{self, BranchName, CommitLine, Stage},
    error::Detail,
    id::{EnvironmentId, RunId},
    node::{self, NodeError, Reach, query::Whereabouts},
    project::{self, Slug},
    run::service::{NewBuild, queue_build_in_txn},
    urls::Urls,
};
use secrecy::SecretString;
use serde_json::json;
use sqlx::{PgConnection, PgPool};

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
    let there = connect(pool, actor, id, "environment.admin_password").await?;
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
) -> Result<Option<Whereabouts>> {
    let mut txn = begin_as(pool, actor.user_id).await?;
    authorise(&mut txn, actor, Action::ConnectEnvironment(id)).await?;
    let there = node::query::whereabouts(&mut txn, id).await?;
    let project = sqlx::query_scalar!("select project_id from ops.environments where id = $1", id.0);
    let project = project.fetch_one(&mut *txn).await?;
    let entry = audit::Entry {
        action,
        object_type: "environment",
        object_id: id.to_string(),
        project: Some(project.into()),
        detail: json!({}),
    };
    audit::record_in_txn(&mut txn, entry).await?;
    txn.commit().await?;
    Ok(there)
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
