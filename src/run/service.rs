use super::{Attempt, Event, RunKind, RunSummary, RunView, query};
use crate::{
    Error, Result,
    access::{Action, Actor, authorise},
    audit,
    branch::{CommitLine, Stage},
    error::{Detail, sqlstate},
    id::{BranchId, ProjectId, RunId},
    project::{self, Slug},
    urls::Urls,
};
use serde_json::json;
use sqlx::PgConnection;

pub async fn view(conn: &mut PgConnection, actor: &Actor, id: RunId, urls: &Urls) -> Result<RunView> {
    authorise(conn, actor, Action::ViewRun(id)).await?;
    query::view(conn, id, urls).await
}

pub async fn list(
    conn: &mut PgConnection,
    actor: &Actor,
    slug: &Slug,
    limit: i64,
) -> Result<Vec<RunSummary>> {
    let project = project::service::resolve(conn, actor, slug).await?;
    query::list(conn, project, None, limit.clamp(1, 1000)).await
}

pub async fn events(conn: &mut PgConnection, actor: &Actor, id: RunId) -> Result<Vec<Event>> {
    authorise(conn, actor, Action::ViewRun(id)).await?;
    query::events(conn, id).await
}

/// Ends a run: at once while it waits, within two seconds once a worker holds it.
pub async fn cancel_in_txn(conn: &mut PgConnection, actor: &Actor, id: RunId) -> Result<()> {
    authorise(conn, actor, Action::CancelRun(id)).await?;
    let canceled = sqlx::query_scalar!(r#"select (ops.cancel_run($1)).project_id as "project_id!""#, id.0)
        .fetch_one(&mut *conn)
        .await;
    let project = match canceled {
        Ok(project) => ProjectId(project),
        Err(error) if sqlstate(&error).as_deref() == Some("55000") => {
            return Err(Error::conflict(Detail::new("run.already_finished")));
        }
        Err(error) => return Err(error.into()),
    };
    audit::record_in_txn(
        conn,
        audit::Entry {
            action: "run.cancel",
            object_type: "run",
            object_id: id.to_string(),
            project: Some(project),
            detail: json!({}),
        },
    )
    .await
}

/// Does the same once more, as a run of its own: the same commit, for the same stage.
pub async fn retry_in_txn(conn: &mut PgConnection, actor: &Actor, id: RunId) -> Result<(Slug, RunId)> {
    authorise(conn, actor, Action::RetryRun(id)).await?;
    let new = sqlx::query_scalar!(r#"select ops.rerun($1) as "id!""#, id.0).fetch_one(&mut *conn).await;
    let new = new.map_err(|error| match sqlstate(&error).as_deref() {
        Some("55000") => Error::conflict(Detail::new("run.not_ended")),
        Some("P0002") => Error::not_found("run"),
        _ => error.into(),
    })?;
    let row = sqlx::query!(
        "select p.id, p.slug from ops.runs r join ops.projects p on p.id = r.project_id where r.id = $1",
        new
    )
    .fetch_one(&mut *conn)
    .await?;
    let entry = audit::Entry {
        action: "run.retry",
        object_type: "run",
        object_id: id.to_string(),
        project: Some(row.id.into()),
        detail: json!({ "run": new }),
    };
    audit::record_in_txn(conn, entry).await?;
    Ok((Slug::parse(&row.slug)?, new.into()))
}

pub async fn attempts(conn: &mut PgConnection, actor: &Actor, id: RunId) -> Result<Vec<Attempt>> {
    authorise(conn, actor, Action::ViewRun(id)).await?;
    query::attempts(conn, id).await
}

/// What a build is made from.
pub struct NewBuild<'a> {
    pub project: ProjectId,
    /// The branch, and what its earlier builds are to make room for.
    pub branch: Option<BranchId>,
    pub stage: Stage,
    pub git_ref: &'a str,
    pub commit: &'a CommitLine,
}

/// Queues a build and takes those of the same branch that it replaces out of its way: what waits at once, what
/// runs by cancelling it, but for production, which finishes what it began. It replaces those of its own stage, and
/// of any stage when it is made for the one that the branch is in.
pub async fn queue_build_in_txn(conn: &mut PgConnection, actor: &Actor, new: NewBuild<'_>) -> Result<RunId> {
    let id = RunId::new();
    // Before runs are locked: who changes labels holds them, and locks runs then.
    sqlx::query!(r#"select ops.hold_project_labels($1) as "held: ()""#, new.project.0)
        .fetch_one(&mut *conn)
        .await?;
    let earlier = match new.branch {
        Some(branch) => {
            sqlx::query_scalar!(
                "select id from ops.runs r
                 where branch_id = $1 and kind = 'build' and superseded_by is null
                   and (status = 'queued'
                        or (status in ('claimed', 'running') and params ->> 'stage' <> 'production'))
                   and (params ->> 'stage' = $2
                        or exists (select from ops.branches b where b.id = r.branch_id and b.stage = $2))
                 for update",
                branch.0,
                new.stage.as_str()
            )
            .fetch_all(&mut *conn)
            .await?
        }
        None => Vec::new(),
    };
    let params = json!({
        "stage": new.stage,
        "commit_subject": new.commit.subject,
        "commit_author": new.commit.author,
    });
    let queued = sqlx::query!(
        "insert into ops.runs
             (id, project_id, branch_id, kind, git_ref, commit_sha, params, serial_key, requested_by, requires)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, p.required_labels from ops.projects p where p.id = $2",
        id.0,
        new.project.0,
        new.branch.map(|b| b.0),
        RunKind::Build.as_str(),
        new.git_ref,
        new.commit.sha.as_str(),
        params,
        new.branch.map(|b| format!("branch:{b}")),
        actor.user_id.0
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    if queued == 0 {
        return Err(Error::not_found("project"));
    }
    for run in earlier {
        sqlx::query!(r#"select ops.cancel_run($1, $2) as "run: ()""#, run, id.0)
            .fetch_one(&mut *conn)
            .await
            .map(drop)
            .or_else(
                |error| if sqlstate(&error).as_deref() == Some("55000") { Ok(()) } else { Err(error) },
            )?;
    }
    Ok(id)
}
