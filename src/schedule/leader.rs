//! The one process that runs schedules. Any worker may lead: it holds a row of `ops.leaders` for 15 seconds and keeps
//! it; when it dies, another takes over. What it writes is fenced by its lease, so one that was only thought dead
//! changes nothing any more.

use super::{MaintenanceTask, Timing, task};
use crate::{Result, id::ScheduleId};
use chrono::{DateTime, Utc};
use sqlx::{PgPool, error::DatabaseError};
use std::time::Duration;
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const NAME: &str = "schedules";
/// Schedules are due to the minute; a second is soon enough.
const LOOK: Duration = Duration::from_secs(1);

/// Leads whenever nobody else does, until told to stop.
pub async fn keep_leading(pool: PgPool, holder: String, stop: CancellationToken) {
    let mut leader = Leader::new(pool, holder);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = look.tick() => {}
        }
        if let Err(error) = leader.step().await {
            tracing::warn!(%error, "schedules are looked at again in a moment");
        }
    }
    leader.resign().await;
}

pub(super) struct Leader {
    pool: PgPool,
    holder: String,
    lease: Option<i64>,
    /// The platform's own work, one at a time. It may take minutes, and nothing waits for it.
    work: Option<JoinHandle<()>>,
}

impl Leader {
    pub(super) fn new(pool: PgPool, holder: String) -> Self {
        Self { pool, holder, lease: None, work: None }
    }

    /// Keeps or takes the lead, and does what is due; whether this process leads.
    pub(super) async fn step(&mut self) -> Result<bool> {
        let lease = sqlx::query_scalar!("select ops.lead($1, $2, $3)", NAME, self.holder, self.lease)
            .fetch_one(&self.pool)
            .await?;
        if lease != self.lease {
            // What an earlier lease began is the next leader's.
            self.stop_work();
            tracing::info!(holder = %self.holder, leads = lease.is_some(), "who runs the schedules has changed");
            self.lease = lease;
        }
        let Some(lease) = lease else { return Ok(false) };
        self.run_due(lease).await?;
        if self.work.as_ref().is_none_or(JoinHandle::is_finished) {
            self.work = Some(tokio::spawn(work_off(self.pool.clone(), lease)));
        }
        Ok(true)
    }

    /// A clean end: another need not wait for the lease to run out.
    pub(super) async fn resign(&mut self) {
        self.stop_work();
        let Some(lease) = self.lease.take() else { return };
        if let Err(error) =
            sqlx::query_scalar!("select ops.resign($1, $2)", NAME, lease).fetch_one(&self.pool).await
        {
            tracing::debug!(%error, "the lead runs out by itself");
        }
    }

    fn stop_work(&mut self) {
        if let Some(work) = self.work.take() {
            work.abort();
        }
    }

    #[cfg(test)]
    pub(super) async fn finish_work(&mut self) {
        if let Some(work) = self.work.take() {
            work.await.unwrap();
        }
    }

    async fn run_due(&self, lease: i64) -> Result<()> {
        for due in due(&self.pool).await? {
            // One that cannot be done is told so, and holds none of the others up.
            match run_one(&self.pool, &due, lease).await {
                Err(sqlx::Error::Database(error)) if is_of_the_schedule(&*error) => {
                    let reason = format!("It cannot be done: {error}");
                    set_next(&self.pool, &due, None, Some(&reason), lease).await?;
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.stop_work();
    }
}

#[derive(Debug)]
struct Due {
    id: ScheduleId,
    cron: String,
    time_zone: String,
    /// None: not computed yet.
    due_at: Option<DateTime<Utc>>,
    /// PostgreSQL's clock.
    now: DateTime<Utc>,
}

async fn due(pool: &PgPool) -> Result<Vec<Due>> {
    let rows = sqlx::query!(
        r#"select id, cron, time_zone, next_due_at, now() as "now!" from ops.schedules
           where enabled and error is null and (next_due_at is null or next_due_at <= now())
           order by next_due_at nulls first, id limit 500"#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Due {
            id: row.id.into(),
            cron: row.cron,
            time_zone: row.time_zone,
            due_at: row.next_due_at,
            now: row.now,
        })
        .collect())
}

/// Bad data, or a rule of the tables: it would be the same at every try.
fn is_of_the_schedule(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

async fn run_one(pool: &PgPool, due: &Due, lease: i64) -> Result<(), sqlx::Error> {
    let (timing, next) = match Timing::parse_for_use(&due.cron, &due.time_zone, due.now) {
        Ok(found) => found,
        Err(error) => {
            // Written by hand: the console refuses such a thing.
            let reason = error.detail().map_or_else(|| error.to_string(), reason);
            return set_next(pool, due, None, Some(&reason), lease).await;
        }
    };
    let Some(due_at) = due.due_at else { return set_next(pool, due, Some(next), None, lease).await };
    let missed = timing.times_between(due_at, due.now);
    let done = sqlx::query!(
        r#"select state as "state!", run_id from ops.fire_schedule($1, $2, $3, $4, $5)"#,
        due.id.0,
        due_at,
        next,
        missed,
        lease
    )
    .fetch_optional(pool)
    .await?;
    if let Some(done) = done {
        tracing::info!(schedule = %due.id, %due_at, missed, state = %done.state, run = ?done.run_id, "a schedule was due");
    }
    Ok(())
}

fn reason(detail: &crate::Detail) -> String {
    let param = |name: &str| detail.params.get(name).map_or("", String::as_str);
    match &*detail.code {
        "schedule.time_zone" => format!("There is no time zone {}.", param("value")),
        "schedule.never" => format!("{} is never due.", param("value")),
        _ => format!("{} does not read as a cron pattern: {}", param("value"), param("reason")),
    }
}

async fn set_next(
    pool: &PgPool,
    due: &Due,
    next: Option<DateTime<Utc>>,
    error: Option<&str>,
    lease: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(
        "select ops.set_next_due($1, $2, $3, $4, $5, $6)",
        due.id.0,
        due.cron,
        due.time_zone,
        next,
        error,
        lease
    )
    .fetch_one(pool)
    .await?;
    Ok(())
}

/// All of the platform's work that waits, one after the other.
async fn work_off(pool: PgPool, lease: i64) {
    loop {
        match one(&pool, lease).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "the platform's own work goes on in a moment");
                return;
            }
        }
    }
}

async fn one(pool: &PgPool, lease: i64) -> Result<bool> {
    let claimed = sqlx::query!(
        r#"select w.id as "id!", s.params ->> 'task' as task
           from ops.claim_schedule_run($1) w join ops.schedules s on s.id = w.schedule_id"#,
        lease
    )
    .fetch_optional(pool)
    .await?;
    let Some(claimed) = claimed else { return Ok(false) };
    let name = claimed.task.unwrap_or_default();
    let outcome = match name.parse::<MaintenanceTask>() {
        Ok(task) => task::perform(pool, task).await,
        Err(_) => Err(format!("There is no task {name:?}.")),
    };
    finish(pool, claimed.id, lease, outcome).await?;
    Ok(true)
}

async fn finish(
    pool: &PgPool,
    id: Uuid,
    lease: i64,
    outcome: std::result::Result<serde_json::Value, String>,
) -> Result<()> {
    let (result, error) = match outcome {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error)),
    };
    sqlx::query_scalar!(
        r#"select (ops.finish_schedule_run($1, $2, $3, $4)).id as "id!""#,
        id,
        lease,
        result,
        error
    )
    .fetch_one(pool)
    .await?;
    Ok(())
}
