use super::{MaintenanceTask, ScheduleRun, ScheduleRunState, ScheduleView, Timing};
use crate::{
    Result,
    branch::BranchName,
    id::{BranchId, ProjectId, RunId, ScheduleId, UserId},
    project::Slug,
    run::{RunKind, RunStatus},
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

/// Where a schedule belongs, and what may be done with it.
#[derive(Debug, Clone)]
pub struct Owner {
    pub project_id: Option<ProjectId>,
    pub name: String,
    pub cron: String,
    pub time_zone: String,
    pub built_in: bool,
}

pub async fn owner(conn: &mut PgConnection, id: ScheduleId) -> Result<Option<Owner>> {
    let row = sqlx::query!(
        "select project_id, name, cron, time_zone, built_in from ops.schedules where id = $1 for update",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Owner {
        project_id: row.project_id.map(Into::into),
        name: row.name,
        cron: row.cron,
        time_zone: row.time_zone,
        built_in: row.built_in,
    }))
}

/// Those of one project, or all that may be seen.
pub async fn list(
    conn: &mut PgConnection,
    project: Option<ProjectId>,
    id: Option<ScheduleId>,
) -> Result<Vec<ScheduleView>> {
    let rows = sqlx::query!(
        r#"select s.id, s.project_id, p.slug as "slug?", p.name as "project_name?", s.name, s.cron, s.time_zone,
               s.kind as "kind: RunKind", b.name as "branch?",
               s.params ->> 'task' as "task: MaintenanceTask", s.enabled, s.built_in, s.next_due_at, s.error,
               s.created_at, w.due_at as "due_at?", w.missed as "missed?", w.state as "state?: ScheduleRunState",
               w.run_id, r.status as "run_status?: RunStatus", w.started_at, w.finished_at, w.result as "result?",
               w.error as run_error
           from ops.schedules s
           left join ops.projects p on p.id = s.project_id
           left join ops.branches b on b.id::text = s.params ->> 'branch_id' and b.deleted_at is null
           left join lateral (
               select * from ops.schedule_runs l where l.schedule_id = s.id order by l.due_at desc limit 1
           ) w on true
           left join ops.runs r on r.id = w.run_id
           where ($1::uuid is null or s.project_id = $1) and ($2::uuid is null or s.id = $2)
             and p.archived_at is null
           order by p.slug nulls first, s.name"#,
        project.map(|p| p.0),
        id.map(|id| id.0)
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let timing = Timing::parse(&row.cron, &row.time_zone).ok();
            Ok(ScheduleView {
                next_due_local: row
                    .next_due_at
                    .zip(timing.as_ref())
                    .map(|(at, timing)| timing.on_the_wall(at)),
                reading: timing.as_ref().map(Timing::reading),
                id: row.id.into(),
                project_id: row.project_id.map(Into::into),
                project_slug: row.slug.as_deref().map(Slug::parse).transpose()?,
                project_name: row.project_name,
                name: row.name,
                cron: row.cron,
                time_zone: row.time_zone,
                kind: row.kind,
                branch: row.branch.as_deref().map(BranchName::parse).transpose()?,
                task: row.task,
                enabled: row.enabled,
                built_in: row.built_in,
                next_due_at: row.next_due_at,
                error: row.error,
                created_at: row.created_at,
                last: match (row.due_at, row.missed, row.state) {
                    (Some(due_at), Some(missed), Some(state)) => Some(ScheduleRun {
                        due_at,
                        missed,
                        state,
                        run_id: row.run_id.map(Into::into),
                        run_status: row.run_status,
                        started_at: row.started_at,
                        finished_at: row.finished_at,
                        result: row.result.unwrap_or_default(),
                        error: row.run_error,
                    }),
                    _ => None,
                },
            })
        })
        .collect()
}

/// What the platform's own work of a kind came to when it was last done.
pub async fn last_of_task(conn: &mut PgConnection, task: MaintenanceTask) -> Result<Option<ScheduleRun>> {
    let all = list(conn, None, None).await?;
    let own = all.into_iter().filter(|schedule| schedule.project_id.is_none() && schedule.task == Some(task));
    Ok(own.filter_map(|schedule| schedule.last).max_by_key(|last| last.due_at))
}

/// The newest first.
pub async fn history(conn: &mut PgConnection, id: ScheduleId, limit: i64) -> Result<Vec<ScheduleRun>> {
    let rows = sqlx::query!(
        r#"select w.due_at, w.missed, w.state as "state: ScheduleRunState", w.run_id,
               r.status as "run_status?: RunStatus", w.started_at, w.finished_at, w.result, w.error
           from ops.schedule_runs w left join ops.runs r on r.id = w.run_id
           where w.schedule_id = $1 order by w.due_at desc limit $2"#,
        id.0,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ScheduleRun {
            due_at: row.due_at,
            missed: row.missed,
            state: row.state,
            run_id: row.run_id.map(RunId),
            run_status: row.run_status,
            started_at: row.started_at,
            finished_at: row.finished_at,
            result: row.result,
            error: row.error,
        })
        .collect())
}

/// A schedule's row as it is first written.
pub struct Row<'a> {
    pub id: ScheduleId,
    pub project: Option<ProjectId>,
    pub name: &'a str,
    pub cron: &'a str,
    pub time_zone: &'a str,
    pub kind: RunKind,
    pub params: Value,
    pub next_due_at: DateTime<Utc>,
    pub created_by: UserId,
}

pub async fn insert(conn: &mut PgConnection, row: Row<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into ops.schedules (id, project_id, name, cron, time_zone, kind, params, next_due_at, created_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        row.id.0,
        row.project.map(|p| p.0),
        row.name,
        row.cron,
        row.time_zone,
        row.kind.as_str(),
        row.params,
        row.next_due_at,
        row.created_by.0
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Whether it was there.
pub async fn set_enabled(
    conn: &mut PgConnection,
    id: ScheduleId,
    enabled: bool,
    next_due_at: Option<DateTime<Utc>>,
) -> Result<bool> {
    let done = sqlx::query!(
        "update ops.schedules set enabled = $2, next_due_at = $3 where id = $1",
        id.0,
        enabled,
        next_due_at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether it was there.
pub async fn change(
    conn: &mut PgConnection,
    id: ScheduleId,
    name: &str,
    cron: &str,
    time_zone: &str,
    next_due_at: Option<DateTime<Utc>>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update ops.schedules set name = $2, cron = $3, time_zone = $4,
             next_due_at = case when enabled then $5::timestamptz end
         where id = $1",
        id.0,
        name,
        cron,
        time_zone,
        next_due_at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether it was there.
pub async fn delete(conn: &mut PgConnection, id: ScheduleId) -> Result<bool> {
    let done = sqlx::query!("delete from ops.schedules where id = $1", id.0).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}

pub async fn branch_by_name(
    conn: &mut PgConnection,
    project: ProjectId,
    name: &BranchName,
) -> Result<Option<(BranchId, crate::branch::Stage)>> {
    let row = sqlx::query!(
        r#"select id, stage as "stage: crate::branch::Stage" from ops.branches
           where project_id = $1 and name = $2 and deleted_at is null"#,
        project.0,
        name.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.id.into(), row.stage)))
}

/// PostgreSQL's clock: what schedules are compared with.
pub async fn now(conn: &mut PgConnection) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(conn).await?)
}
