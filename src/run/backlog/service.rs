use super::{Queued, query};
use crate::{
    Error, Result,
    access::{Action, Actor, authorise},
    audit,
    error::Detail,
    id::{ProjectId, RunId},
};
use serde_json::json;
use sqlx::PgConnection;

/// Most rows that one look at the queue shows.
pub const MOST: i64 = 500;

/// What people may set: beyond it there is room for what the platform itself hurries.
pub const PRIORITIES: std::ops::RangeInclusive<i32> = -100..=100;

pub async fn list(conn: &mut PgConnection, actor: &Actor) -> Result<Vec<Queued>> {
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
    let row = sqlx::query!(
        r#"with before as (select id, priority, status from ops.runs where id = $1 for update)
           update ops.runs r set priority = case when r.status = 'queued' then $2 else r.priority end
           from before b where b.id = r.id
           returning r.project_id, b.priority as before, b.status"#,
        id.0,
        priority
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Error::not_found("run"))?;
    if row.status != "queued" {
        return Err(Error::conflict(Detail::new("run.not_queued")));
    }
    let entry = audit::Entry {
        action: "run.priority",
        object_type: "run",
        object_id: id.to_string(),
        project: Some(ProjectId(row.project_id)),
        detail: json!({ "before": row.before, "priority": priority }),
    };
    audit::record_in_txn(conn, actor, entry).await
}
