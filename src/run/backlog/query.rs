use super::{Backlog, KindLimit, Needs, Queued, waits};
use crate::{
    Result,
    branch::{BranchName, Stage},
    host,
    project::Slug,
    run::{RunKind, RunStatus, Step},
};
use sqlx::PgConnection;

/// The first so many, and how many there are: counted by the same statement, so that the two agree.
pub async fn list(conn: &mut PgConnection, limit: i64) -> Result<Backlog> {
    let hosts = host::query::hosts(conn).await?;
    let rows = sqlx::query!(
        r#"with under_way as (
               select id, kind, serial_key from ops.runs where status in ('claimed', 'running')
           ),
           -- Whose turn a serial key is: who has it, else who is first in line for it.
           first as (
               select distinct on (serial_key) serial_key, id from ops.runs
               where status in ('queued', 'claimed', 'running') and serial_key is not null
               order by serial_key, status = 'queued', priority desc, queued_at, id
           ), counts as (
               select count(*) filter (where status <> 'queued') as under_way,
                   count(*) filter (where status = 'queued') as waiting
               from ops.runs where status in ('queued', 'claimed', 'running')
           )
           select r.id, p.slug, p.name as project_name, b.name as "branch?",
               coalesce(e.stage, r.params ->> 'stage', b.stage) as "stage?: Stage", r.git_ref, r.commit_sha,
               r.kind as "kind: RunKind", r.status as "status: RunStatus", r.step as "step: Step", r.priority,
               r.attempt - r.handed_back as "attempt!", r.queued_at, r.started_at, r.worker_id,
               r.cancel_requested_at, r.run_after, r.requires, r.host_id, coalesce(wh.name, h.name) as "host?",
               holder.id as "holder?", r.serial_key,
               (select l.max_running from ops.kind_limits l
                where l.kind = r.kind
                  and l.max_running <= (select count(*) from under_way u where u.kind = r.kind)) as kind_max,
               counts.under_way as "under_way!", counts.waiting as "waiting!", now() as "now!"
           from ops.runs r
           cross join counts
           join ops.projects p on p.id = r.project_id
           left join ops.branches b on b.id = r.branch_id
           left join ops.environments e on e.id = r.environment_id
           left join ops.hosts h on h.id = r.host_id
           left join ops.workers w on w.id = r.worker_id and r.status in ('claimed', 'running')
           left join ops.hosts wh on wh.id = w.host_id
           left join first holder on holder.serial_key = r.serial_key and holder.id <> r.id and r.status = 'queued'
           where r.status in ('queued', 'claimed', 'running')
           order by r.status = 'queued', r.priority desc, r.queued_at, r.id
           limit $1"#,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    // Without a row there is nothing to count either.
    let (under_way, waiting) = rows.first().map_or((0, 0), |row| (row.under_way, row.waiting));
    let runs = rows
        .into_iter()
        .map(|row| {
            let needs = Needs {
                kind: row.kind,
                run_after: row.run_after,
                held_by: row.holder.map(|run| (run.into(), row.serial_key.unwrap_or_default())),
                host_id: row.host_id.map(Into::into),
                labels: row.requires,
                kind_max: row.kind_max,
            };
            let waits = match row.status {
                RunStatus::Queued => waits(&needs, &hosts, row.now),
                _ => Vec::new(),
            };
            Ok(Queued {
                id: row.id.into(),
                project: Slug::parse(&row.slug)?,
                project_name: row.project_name,
                branch: row.branch.as_deref().map(BranchName::parse).transpose()?,
                stage: row.stage,
                git_ref: row.git_ref,
                commit_sha: row.commit_sha,
                kind: row.kind,
                status: row.status,
                step: row.step,
                priority: row.priority,
                attempt: row.attempt,
                queued_at: row.queued_at,
                started_at: row.started_at,
                worker_id: row.worker_id,
                host: row.host,
                cancel_requested_at: row.cancel_requested_at,
                waits,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Backlog { under_way, waiting, limits: limits(conn).await?, runs })
}

pub async fn limits(conn: &mut PgConnection) -> Result<Vec<KindLimit>> {
    let limits = sqlx::query_as!(
        KindLimit,
        r#"select kind as "kind: RunKind", max_running from ops.kind_limits order by kind"#
    );
    Ok(limits.fetch_all(conn).await?)
}

/// None: as many as workers have slots.
pub async fn set_limit(conn: &mut PgConnection, kind: RunKind, max: Option<i32>) -> Result<()> {
    match max {
        Some(max) => {
            sqlx::query!(
                "insert into ops.kind_limits (kind, max_running) values ($1, $2)
                 on conflict (kind) do update set max_running = excluded.max_running",
                kind.as_str(),
                max
            )
            .execute(&mut *conn)
            .await?
        }
        None => {
            sqlx::query!("delete from ops.kind_limits where kind = $1", kind.as_str())
                .execute(&mut *conn)
                .await?
        }
    };
    // Workers that waited for the limit look again.
    sqlx::query!("select pg_notify('ops_run', '')").fetch_one(conn).await?;
    Ok(())
}
