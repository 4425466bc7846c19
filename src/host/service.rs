use super::{HostView, WorkerView, query};
use crate::{
    Error, Result,
    access::{Action, Actor, authorise},
    audit,
    error::{Detail, sqlstate},
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

/// Forgets a worker that is silent and holds nothing; its host too, when no other worker speaks for that. True: it did.
pub async fn forget_in_txn(conn: &mut PgConnection, actor: &Actor, worker: &str) -> Result<bool> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    let host = sqlx::query_scalar!(r#"select ops.forget_worker($1) as "host!""#, worker)
        .fetch_one(&mut *conn)
        .await
        .map_err(|error| {
            let held = error.as_database_error().and_then(|error| error.constraint());
            match (held, sqlstate(&error).as_deref()) {
                (Some("worker_holds_heard"), _) => Error::conflict(Detail::new("worker.heard")),
                (Some("worker_holds_running"), _) => Error::conflict(Detail::new("worker.holds_runs")),
                (Some("worker_holds_environments"), _) => {
                    Error::conflict(Detail::new("worker.holds_environments"))
                }
                (Some("worker_holds_quarantine"), _) => {
                    Error::conflict(Detail::new("worker.holds_quarantine"))
                }
                (_, Some("P0002")) => Error::not_found("worker.unknown"),
                _ => error.into(),
            }
        })?;
    let entry = audit::Entry {
        action: "worker.forget",
        object_type: "worker",
        object_id: worker.to_owned(),
        project: None,
        detail: json!({ "host": host }),
    };
    audit::record_in_txn(conn, entry).await?;
    Ok(host)
}
