use super::{HostView, WorkerView, query};
use crate::{
    Error, Result,
    access::{Action, Actor, authorise},
    audit,
    error::sqlstate,
};
use serde_json::json;
use sqlx::PgConnection;

pub async fn list(conn: &mut PgConnection, actor: &Actor) -> Result<Vec<HostView>> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    query::hosts(conn).await
}

pub async fn workers(conn: &mut PgConnection, actor: &Actor) -> Result<Vec<WorkerView>> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    query::workers(conn).await
}

/// The worker finishes what it holds and takes nothing more, or takes runs again.
pub async fn drain_in_txn(conn: &mut PgConnection, actor: &Actor, worker: &str, drain: bool) -> Result<()> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    sqlx::query_scalar!(r#"select (ops.drain_worker($1, $2)).id as "id!""#, worker, drain)
        .fetch_one(&mut *conn)
        .await
        .map_err(|error| match sqlstate(&error).as_deref() {
            Some("P0002") => Error::not_found("worker.unknown"),
            _ => error.into(),
        })?;
    let entry = audit::Entry {
        action: if drain { "worker.drain" } else { "worker.undrain" },
        object_type: "worker",
        object_id: worker.to_owned(),
        project: None,
        detail: json!({}),
    };
    audit::record_in_txn(conn, entry).await
}
