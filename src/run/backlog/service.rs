use super::{Backlog, query};
use crate::{
    Error, Result,
    access::{Action, Actor, authorise},
    audit,
    error::{Detail, sqlstate},
    id::{ProjectId, RunId},
    run::RunKind,
};
use serde_json::json;
use sqlx::PgConnection;

/// Most runs that one look at the queue shows. [`Backlog`] says how many there are.
pub const MOST: i64 = 500;

/// What people may set: beyond it there is room for what the platform itself hurries.
pub const PRIORITIES: std::ops::RangeInclusive<i32> = -100..=100;

pub async fn list(conn: &mut PgConnection, actor: &Actor) -> Result<Backlog> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    query::list(conn, MOST).await
}

/// Lets a queued run go earlier or later than others.
pub async fn set_priority_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    id: RunId,
    priority: i32,
) -> Result<()> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    if !PRIORITIES.contains(&priority) {
        return Err(Error::invalid("priority", Detail::new("run.priority")));
    }
    let set = sqlx::query_scalar!(
        r#"select (ops.set_run_priority($1, $2)).project_id as "project_id!""#,
        id.0,
        priority
    )
    .fetch_one(&mut *conn)
    .await;
    let project = set.map_err(|error| match sqlstate(&error).as_deref() {
        Some("55000") => Error::conflict(Detail::new("run.not_queued")),
        Some("P0002") => Error::not_found("run"),
        _ => error.into(),
    })?;
    let entry = audit::Entry {
        action: "run.priority",
        object_type: "run",
        object_id: id.to_string(),
        project: Some(ProjectId(project)),
        detail: json!({ "priority": priority }),
    };
    audit::record_in_txn(conn, entry).await
}

/// How many runs of a kind may be under way at once, on all hosts together. None: as many as workers have slots. What is
/// under way already goes on.
pub async fn set_limit_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    kind: RunKind,
    max: Option<i32>,
) -> Result<()> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    if max.is_some_and(|max| max < 0) {
        return Err(Error::invalid("max_running", Detail::new("queue.limit")));
    }
    query::set_limit(conn, kind, max).await?;
    let entry = audit::Entry {
        action: "queue.limit",
        object_type: "kind",
        object_id: kind.to_string(),
        project: None,
        detail: json!({ "max_running": max }),
    };
    audit::record_in_txn(conn, entry).await
}
