use super::{HostView, WorkerView, labels, query};
use crate::{
    Error, Result,
    access::{Action, Actor, authorise},
    audit,
    error::{Detail, sqlstate},
    id::HostId,
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

/// What the host has, for runs that ask for it. What is under way there stays.
pub async fn set_labels_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    host: HostId,
    labels: &[String],
) -> Result<()> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    let labels = labels::checked(labels)?;
    sqlx::query!("select ops.set_host_labels($1, $2)", host.0, &labels)
        .fetch_one(&mut *conn)
        .await
        .map_err(refused)?;
    record(conn, "host.labels", host, json!({ "labels": labels })).await
}

/// How much must be free on the host for a run to begin there. None: as it is.
pub async fn set_limits_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    host: HostId,
    min_free_memory_bytes: Option<i64>,
    min_free_disk_bytes: Option<i64>,
) -> Result<()> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    sqlx::query!(
        "select ops.set_host_limits($1, $2, $3)",
        host.0,
        min_free_memory_bytes,
        min_free_disk_bytes
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(refused)?;
    let detail =
        json!({ "min_free_memory_bytes": min_free_memory_bytes, "min_free_disk_bytes": min_free_disk_bytes });
    record(conn, "host.limits", host, detail).await
}

/// The functions' refusals as people read them.
fn refused(error: sqlx::Error) -> Error {
    match sqlstate(&error).as_deref() {
        Some("P0002") => Error::not_found("host"),
        Some("22023") => Error::invalid("limits", Detail::new("host.limits")),
        _ => error.into(),
    }
}

async fn record(
    conn: &mut PgConnection,
    action: &str,
    host: HostId,
    detail: serde_json::Value,
) -> Result<()> {
    let object_id = host.to_string();
    let entry = audit::Entry { action, object_type: "host", object_id, project: None, detail };
    audit::record_in_txn(conn, entry).await
}
