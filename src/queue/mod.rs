//! The queue as workers use it: thin calls of the functions in schema `ops`, which hold all the rules.
//! Every write is fenced by the lease of the claim; a worker that lost it gets `LeaseLost` and changes nothing.

#[cfg(test)]
mod concurrency_tests;
#[cfg(test)]
mod errors_tests;
#[cfg(test)]
mod life_model;
#[cfg(test)]
mod life_tests;
#[cfg(test)]
mod placement_tests;
#[cfg(test)]
mod testing;

use crate::{
    id::{BranchId, EnvironmentId, HostId, ProjectId, RunId},
    run::{LogLevel, RunKind, RunStatus},
};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another worker holds the run now, or it has ended.
    #[error("the lease of the run is lost")]
    LeaseLost,
    #[error("the run printed more than it may")]
    OutputLimit,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error().and_then(|e| e.code()).as_deref() {
            Some("55000" | "55006") => Self::LeaseLost,
            Some("54000") => Self::OutputLimit,
            _ => Self::Database(error),
        }
    }
}

/// A run in this worker's hands.
#[derive(Debug, Clone)]
pub struct Claim {
    pub id: RunId,
    pub lease: i64,
    /// How often it was tried, this time included.
    pub attempt: i32,
    pub project_id: ProjectId,
    pub branch_id: Option<BranchId>,
    pub environment_id: Option<EnvironmentId>,
    pub kind: RunKind,
    pub git_ref: String,
    pub commit_sha: String,
    pub params: Value,
}

/// How a worker presents itself.
#[derive(Debug, Clone)]
pub struct Registration<'a> {
    pub worker: &'a str,
    pub host: &'a str,
    pub version: &'a str,
    /// Runs at a time.
    pub capacity: i32,
    pub kinds: &'a [RunKind],
}

/// Tells the queue who works here, and lets go of what a process of the same name held before it died. Returns the
/// host's id and how many runs were let go of.
pub async fn register_worker(conn: &mut PgConnection, new: Registration<'_>) -> Result<(HostId, i32), Error> {
    let kinds: Vec<String> = new.kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
    let host = sqlx::query_scalar!(
        r#"select ops.register_worker($1, $2, $3, $4, $5) as "host!""#,
        new.worker,
        new.host,
        new.version,
        new.capacity,
        &kinds
    )
    .fetch_one(&mut *conn)
    .await?;
    let released =
        sqlx::query_scalar!("select ops.release_worker_runs($1)", new.worker).fetch_one(conn).await?;
    Ok((host.into(), released.unwrap_or(0)))
}

/// Takes the next run and starts it, in one transaction.
pub async fn claim(conn: &mut PgConnection, worker: &str) -> Result<Option<Claim>, Error> {
    let row = sqlx::query!(
        r#"select c.id as "id!", c.lease as "lease!", c.attempt - c.handed_back as "attempt!",
               c.project_id as "project_id!", c.branch_id, c.environment_id, c.kind as "kind!: RunKind",
               c.git_ref as "git_ref!", c.commit_sha as "commit_sha!", c.params as "params!",
               (ops.start_workflow_run(c.id, $1, c.lease)).status as "status!"
           from ops.claim_next_run($1) c"#,
        worker
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Claim {
        id: row.id.into(),
        lease: row.lease,
        attempt: row.attempt,
        project_id: row.project_id.into(),
        branch_id: row.branch_id.map(Into::into),
        environment_id: row.environment_id.map(Into::into),
        kind: row.kind,
        git_ref: row.git_ref,
        commit_sha: row.commit_sha,
        params: row.params,
    }))
}

/// Says that a worker waits: for the next five seconds, what is queued is announced.
pub async fn wait(conn: &mut PgConnection, worker: &str) -> Result<(), Error> {
    sqlx::query!(r#"select ops.worker_waits($1) as "done: ()""#, worker).fetch_one(conn).await?;
    Ok(())
}

/// What a heartbeat learned of a run that is still held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    pub run: RunId,
    pub cancel_requested: bool,
}

/// What a heartbeat tells of the worker's process and machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// It finishes what it holds, and ends.
    pub stopping: bool,
    /// None: they could not be read; those told last hold.
    #[serde(flatten)]
    pub figures: Option<Figures>,
}

/// What the machine has, and what of it is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Figures {
    pub cpus: i32,
    pub memory_total_bytes: i64,
    pub memory_free_bytes: i64,
    pub disk_total_bytes: i64,
    pub disk_free_bytes: i64,
}

/// Says that the worker lives, and renews the leases. A run that is missing in the answer is lost.
pub async fn heartbeat(
    conn: &mut PgConnection,
    worker: &str,
    held: &[(RunId, i64)],
    machine: Machine,
) -> Result<Vec<Pulse>, Error> {
    let ids: Vec<uuid::Uuid> = held.iter().map(|(run, _)| run.0).collect();
    let leases: Vec<i64> = held.iter().map(|(_, lease)| *lease).collect();
    let rows = sqlx::query!(
        r#"select run_id as "run_id!", cancel_requested as "cancel_requested!" from ops.heartbeat($1, $2, $3, $4)"#,
        worker,
        &ids,
        &leases,
        json!(machine)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Pulse { run: r.run_id.into(), cancel_requested: r.cancel_requested })
        .collect())
}

/// Locks the run until the transaction ends, so that what is written beside it is written under its lease.
pub async fn hold(conn: &mut PgConnection, claim: &Claim) -> Result<Pulse, Error> {
    let canceled = sqlx::query_scalar!(
        r#"select (ops.hold_run($1, $2)).cancel_requested_at is not null as "canceled!""#,
        claim.id.0,
        claim.lease
    )
    .fetch_one(conn)
    .await?;
    Ok(Pulse { run: claim.id, cancel_requested: canceled })
}

pub async fn finish(
    conn: &mut PgConnection,
    claim: &Claim,
    status: RunStatus,
    exit_code: Option<i32>,
    error_message: Option<&str>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"select (ops.finish_run($1, $2, $3, $4, $5)).status as "status!""#,
        claim.id.0,
        claim.lease,
        status.as_str(),
        exit_code,
        error_message
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Hands the run back to be tried again; at the third attempt it fails with the reason.
pub async fn retry(conn: &mut PgConnection, claim: &Claim, reason: &str) -> Result<(), Error> {
    sqlx::query!(
        r#"select (ops.retry_run($1, $2, $3)).status as "status!""#,
        claim.id.0,
        claim.lease,
        reason
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Hands the run back untried: this worker is told to stop.
pub async fn hand_back(conn: &mut PgConnection, claim: &Claim, reason: &str) -> Result<(), Error> {
    sqlx::query!(
        r#"select (ops.hand_back_run($1, $2, $3)).status as "status!""#,
        claim.id.0,
        claim.lease,
        reason
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

pub async fn requeue_lost(conn: &mut PgConnection) -> Result<i32, Error> {
    let requeued = sqlx::query_scalar!("select ops.requeue_lost_runs()").fetch_one(conn).await?;
    Ok(requeued.unwrap_or(0))
}

pub async fn append_event(
    conn: &mut PgConnection,
    claim: &Claim,
    kind: &str,
    payload: Value,
) -> Result<(), Error> {
    sqlx::query!("select ops.append_event($1, $2, $3, $4)", claim.id.0, kind, payload, claim.lease)
        .fetch_one(conn)
        .await?;
    Ok(())
}

/// Lines of the worker's own, among those of the containers.
pub async fn append_logs(
    conn: &mut PgConnection,
    claim: &Claim,
    stream: &str,
    lines: &[(LogLevel, String)],
) -> Result<(), Error> {
    let levels: Vec<String> = lines.iter().map(|(level, _)| level.as_str().to_owned()).collect();
    let messages: Vec<String> = lines.iter().map(|(_, message)| message.replace('\0', "")).collect();
    sqlx::query!(
        "select ops.append_run_logs($1, $2, $3, $4, $5)",
        claim.id.0,
        stream,
        &levels,
        &messages,
        claim.lease
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// A build's output is bounded, a running server's is not.
pub async fn set_output_limit(conn: &mut PgConnection, run: RunId, bytes: Option<i64>) -> Result<(), Error> {
    sqlx::query!(r#"select ops.set_output_limit($1, $2) as "done: ()""#, run.0, bytes)
        .fetch_one(conn)
        .await?;
    Ok(())
}

pub async fn ensure_partitions(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query_scalar!("select ops.ensure_partitions()").fetch_one(conn).await?;
    Ok(())
}

#[cfg(test)]
mod claim_tests;
