use super::{DryRun, HostEpoch, HostReport, Quarantined, query};
use crate::{
    Error, Result,
    access::{Action, Actor, authorise},
    audit,
    error::Detail,
    id::{HostId, QuarantineId, ReconcilerRequestId},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// The latest report of each reconciler of each host.
pub async fn reports(conn: &mut PgConnection, actor: &Actor) -> Result<Vec<HostReport>> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    query::reports(conn).await
}

/// Which hosts act, and which only report because the ops database was restored.
pub async fn epochs(conn: &mut PgConnection, actor: &Actor) -> Result<Vec<HostEpoch>> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    query::epochs(conn).await
}

/// Asks a host, or all of them, what they would do. The answers come with [`dry_runs`], within seconds of a host that
/// is there.
pub async fn request_dry_run_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    host: Option<HostId>,
) -> Result<Vec<ReconcilerRequestId>> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    let ids = sqlx::query_scalar!(r#"select id as "id!" from ops.request_dry_run($1) id"#, host.map(|h| h.0))
        .fetch_all(&mut *conn)
        .await
        .map_err(unknown_or("host"))?;
    record(conn, "reconcile.dry_run", "host", host.map(|h| h.to_string()), json!({})).await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

/// These dry runs, answered or not.
pub async fn dry_runs(
    conn: &mut PgConnection,
    actor: &Actor,
    ids: &[ReconcilerRequestId],
) -> Result<Vec<DryRun>> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    query::dry_runs(conn, ids).await
}

/// After the ops database was restored: the administrator saw what the host would remove, and lets it act again.
pub async fn confirm_epoch_in_txn(conn: &mut PgConnection, actor: &Actor, host: HostId) -> Result<i64> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    let epoch = sqlx::query_scalar!(r#"select ops.confirm_epoch($1) as "epoch!""#, host.0)
        .fetch_one(&mut *conn)
        .await
        .map_err(|error| match code(&error).as_deref() {
            Some("55000") => Error::conflict(Detail::new("reconcile.not_to_confirm")),
            _ => unknown_or("host")(error),
        })?;
    let detail = json!({ "epoch": epoch });
    record(conn, "reconcile.confirm_epoch", "host", Some(host.to_string()), detail).await?;
    Ok(epoch)
}

/// What is in quarantine; with `ended`, also what was deleted or put back.
pub async fn quarantine(conn: &mut PgConnection, actor: &Actor, ended: bool) -> Result<Vec<Quarantined>> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    query::quarantine(conn, ended).await
}

/// Has it deleted, production's too. `name` repeats what it was called, so that nobody deletes the wrong one.
pub async fn delete_quarantined_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    id: QuarantineId,
    name: &str,
) -> Result<()> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    let found = query::quarantined(conn, id).await?.ok_or(Error::not_found("quarantine"))?;
    if found.original_name != name {
        return Err(Error::invalid("name", Detail::new("reconcile.name").with("name", found.original_name)));
    }
    request_end(conn, &found, false).await
}

/// Has it put back under the name that it had.
pub async fn restore_quarantined_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    id: QuarantineId,
) -> Result<()> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    let found = query::quarantined(conn, id).await?.ok_or(Error::not_found("quarantine"))?;
    request_end(conn, &found, true).await
}

async fn request_end(conn: &mut PgConnection, found: &Quarantined, restore: bool) -> Result<()> {
    sqlx::query!(r#"select (ops.request_quarantine_end($1, $2)).id as "id!""#, found.id.0, restore)
        .fetch_one(&mut *conn)
        .await
        .map_err(unknown_or("quarantine"))?;
    let action = if restore { "quarantine.restore" } else { "quarantine.delete" };
    let detail = json!({
        "kind": found.kind, "name": found.original_name, "environment": found.environment_id,
        "production": found.production,
    });
    record(conn, action, "quarantine", Some(found.id.to_string()), detail).await
}

async fn record(
    conn: &mut PgConnection,
    action: &str,
    object_type: &str,
    object_id: Option<String>,
    detail: Value,
) -> Result<()> {
    let object_id = object_id.unwrap_or_else(|| "all".to_owned());
    let entry = audit::Entry { action, object_type, object_id, project: None, detail };
    audit::record_in_txn(conn, entry).await
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|e| e.code()).map(|code| code.into_owned())
}

fn unknown_or(what: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |error| match code(&error).as_deref() {
        Some("P0002") => Error::not_found(what),
        _ => error.into(),
    }
}
