use super::{DryRun, Finding, HostEpoch, HostReport, Mode, QuarantineKind, Quarantined, Report, Standing};
use crate::{
    Error, Result,
    id::{EnvironmentId, HostId, QuarantineId, ReconcilerRequestId},
};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

/// Of hosts that may come back: what others said last stays as it was for ever.
pub async fn reports(conn: &mut PgConnection) -> Result<Vec<HostReport>> {
    let rows = sqlx::query!(
        r#"select r.host_id, h.name as host, r.name, r.started_at, r.finished_at, r.looked_at, r.acted, r.would,
               r.mode as "mode: Mode", r.reason, r.error, r.findings as "findings: Json<Vec<Finding>>"
           from ops.reconciler_reports r join ops.hosts h on h.id = r.host_id
           where h.revoked_at is null
           order by h.name, r.name"#
    );
    let reports = rows.fetch_all(conn).await?.into_iter().map(|row| HostReport {
        host_id: row.host_id.into(),
        host: row.host,
        finished_at: row.finished_at,
        report: Report {
            name: row.name,
            started_at: row.started_at,
            looked_at: row.looked_at,
            acted: row.acted,
            would: row.would,
            mode: row.mode,
            reason: row.reason,
            error: row.error,
            findings: row.findings.0,
        },
    });
    Ok(reports.collect())
}

pub async fn epochs(conn: &mut PgConnection) -> Result<Vec<HostEpoch>> {
    let rows = sqlx::query_as!(
        HostEpoch,
        r#"select id as "host_id: HostId", name as host, epoch, file_epoch,
               epoch_standing as "standing: Standing", confirmed_at
           from ops.hosts where revoked_at is null order by name"#
    );
    Ok(rows.fetch_all(conn).await?)
}

pub async fn dry_runs(conn: &mut PgConnection, ids: &[ReconcilerRequestId]) -> Result<Vec<DryRun>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"select q.id, q.host_id, h.name as host, q.requested_at, q.answered_at,
               q.reports as "reports: Json<Vec<Report>>"
           from ops.reconciler_requests q join ops.hosts h on h.id = q.host_id
           where q.id = any ($1) order by h.name"#,
        &ids
    );
    let runs = rows.fetch_all(conn).await?.into_iter().map(|row| DryRun {
        id: row.id.into(),
        host_id: row.host_id.into(),
        host: row.host,
        requested_at: row.requested_at,
        answered_at: row.answered_at,
        reports: row.reports.map(|reports| reports.0).unwrap_or_default(),
    });
    Ok(runs.collect())
}

/// Dry runs that this host has not answered yet.
pub(super) async fn open_requests(conn: &mut PgConnection, host: HostId) -> Result<Vec<ReconcilerRequestId>> {
    let ids = sqlx::query_scalar!(
        "select id from ops.reconciler_requests where host_id = $1 and answered_at is null order by requested_at",
        host.0
    );
    Ok(ids.fetch_all(conn).await?.into_iter().map(Into::into).collect())
}

pub(super) async fn answer(
    conn: &mut PgConnection,
    request: ReconcilerRequestId,
    reports: &[Report],
) -> Result<()> {
    let reports = serde_json::to_value(reports).map_err(Error::internal)?;
    sqlx::query!(r#"select ops.answer_dry_run($1, $2) as "done: ()""#, request.0, reports)
        .fetch_one(conn)
        .await?;
    Ok(())
}

pub(super) async fn store(conn: &mut PgConnection, host: HostId, report: &Report) -> Result<()> {
    let findings = serde_json::to_value(&report.findings).map_err(Error::internal)?;
    sqlx::query!(
        r#"select ops.report_reconciler($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as "done: ()""#,
        host.0,
        report.name,
        report.started_at,
        report.looked_at,
        report.acted,
        report.would,
        report.mode as Mode,
        report.reason,
        report.error,
        findings
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

pub async fn quarantine(conn: &mut PgConnection, ended: bool) -> Result<Vec<Quarantined>> {
    rows(conn, None, None, ended).await
}

pub async fn quarantined(conn: &mut PgConnection, id: QuarantineId) -> Result<Option<Quarantined>> {
    Ok(rows(conn, None, Some(id), false).await?.pop())
}

pub(super) async fn quarantine_of(conn: &mut PgConnection, host: HostId) -> Result<Vec<Quarantined>> {
    rows(conn, Some(host), None, false).await
}

async fn rows(
    conn: &mut PgConnection,
    host: Option<HostId>,
    id: Option<QuarantineId>,
    ended: bool,
) -> Result<Vec<Quarantined>> {
    let rows = sqlx::query_as!(
        Quarantined,
        r#"select q.id as "id: QuarantineId", q.host_id as "host_id: HostId", h.name as host,
               q.kind as "kind: QuarantineKind", q.name, q.original_name,
               q.environment_id as "environment_id: EnvironmentId", q.production, q.reason, q.size_bytes,
               q.quarantined_at, q.delete_after, q.delete_requested_at, q.restore_requested_at, q.error,
               q.deleted_at, q.restored_at
           from ops.quarantine q join ops.hosts h on h.id = q.host_id
           where ($1::uuid is null or q.host_id = $1) and ($2::uuid is null or q.id = $2)
             and ($3 or (q.deleted_at is null and q.restored_at is null))
           order by q.quarantined_at desc, q.id desc limit 1000"#,
        host.map(|h| h.0),
        id.map(|q| q.0),
        ended
    );
    Ok(rows.fetch_all(conn).await?)
}
