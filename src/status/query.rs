use super::{
    MigrationStatus, PartitionStatus, PostgresStatus, QueueStatus, Status, Stuck, StuckRun, WorkerStatus,
};
use crate::{
    Result, host,
    postgres::ops,
    project::Slug,
    reconcile,
    run::{RunKind, RunStatus},
    schedule::{self, MaintenanceTask},
};
use sqlx::PgConnection;

/// A lease that is over is taken back within seconds, and a canceled run ends within two: after this, something hangs.
const STUCK_AFTER_SECONDS: f64 = 60.0;

pub async fn status(conn: &mut PgConnection) -> Result<Status> {
    let row = sqlx::query!(
        r#"select now() as "now!", current_setting('server_version') as "version!",
               pg_database_size(current_database()) as "size!",
               (select numbackends from pg_stat_database where datname = current_database()) as "connections!",
               current_setting('max_connections')::int as "max_connections!",
               pg_postmaster_start_time() as "started_at!""#
    )
    .fetch_one(&mut *conn)
    .await?;
    let (applied, known) = ops::migrations(&mut *conn).await?;
    let workers = host::query::workers(&mut *conn).await?;
    let mut status = Status {
        checked_at: row.now,
        postgres: PostgresStatus {
            // Packagers append their own name.
            version: row.version.split(' ').next().unwrap_or_default().to_owned(),
            size_bytes: row.size,
            connections: row.connections,
            max_connections: row.max_connections,
            started_at: row.started_at,
        },
        migrations: MigrationStatus { applied, known },
        workers: workers
            .into_iter()
            .map(|worker| WorkerStatus {
                id: worker.id,
                host: worker.host,
                state: worker.state,
                running: worker.running,
                capacity: worker.capacity,
                last_heartbeat_at: worker.last_heartbeat_at,
            })
            .collect(),
        queue: queue(&mut *conn).await?,
        reconcilers: reconcile::query::reports(&mut *conn).await?,
        epochs: reconcile::query::epochs(&mut *conn).await?,
        quarantined: quarantined(&mut *conn).await?,
        partitions: partitions(&mut *conn).await?,
        retention: schedule::last_of_task(&mut *conn, MaintenanceTask::Retention).await?,
        problems: Vec::new(),
    };
    status.problems = status.find_problems();
    Ok(status)
}

async fn queue(conn: &mut PgConnection) -> Result<QueueStatus> {
    let row = sqlx::query!(
        r#"select count(*) filter (where status = 'queued' and run_after <= now()) as "waiting!",
               count(*) filter (where status = 'queued' and run_after > now()) as "later!",
               count(*) filter (where status <> 'queued') as "running!",
               min(greatest(queued_at, run_after)) filter (where status = 'queued' and run_after <= now()) as oldest
           from ops.runs where status in ('queued', 'claimed', 'running')"#
    )
    .fetch_one(&mut *conn)
    .await?;
    let stuck = sqlx::query!(
        r#"select r.id, p.slug, r.kind as "kind: RunKind", r.status as "status: RunStatus", r.worker_id,
               r.lease_expires_at, r.cancel_requested_at,
               coalesce(r.lease_expires_at < now() - make_interval(secs => $1), false) as "over!"
           from ops.runs r join ops.projects p on p.id = r.project_id
           where r.status in ('claimed', 'running')
             and (r.lease_expires_at < now() - make_interval(secs => $1)
                  or r.cancel_requested_at < now() - make_interval(secs => $1))
           order by r.queued_at limit 50"#,
        STUCK_AFTER_SECONDS
    )
    .fetch_all(conn)
    .await?;
    let stuck = stuck
        .into_iter()
        .filter_map(|row| {
            let (why, since) = match row.over {
                true => (Stuck::LeaseOver, row.lease_expires_at?),
                false => (Stuck::NotCanceled, row.cancel_requested_at?),
            };
            Some((row.slug, row.id, row.kind, row.status, row.worker_id, why, since))
        })
        .map(|(slug, id, kind, status, worker_id, why, since)| {
            let project = Slug::parse(&slug)?;
            Ok(StuckRun { id: id.into(), project, kind, status, worker_id, why, since })
        })
        .collect::<Result<_>>()?;
    Ok(QueueStatus {
        waiting: row.waiting,
        later: row.later,
        running: row.running,
        oldest_waiting_since: row.oldest,
        stuck,
    })
}

async fn quarantined(conn: &mut PgConnection) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from ops.quarantine where deleted_at is null and restored_at is null"#
    );
    Ok(count.fetch_one(conn).await?)
}

/// The partitioned tables of the schema, with their parts of all levels.
async fn partitions(conn: &mut PgConnection) -> Result<Vec<PartitionStatus>> {
    let rows = sqlx::query!(
        r#"select t.relname::text as "table!",
               (select count(*) from pg_partition_tree(t.oid) n where n.isleaf) as "partitions!",
               (select coalesce(sum(pg_total_relation_size(n.relid)), 0)
                from pg_partition_tree(t.oid) n where n.isleaf)::bigint as "size!",
               (select coalesce(sum(greatest(pg_stat_get_live_tuples(n.relid), 0)), 0)
                from pg_partition_tree(t.oid) n
                join pg_class c on c.oid = n.relid
                where n.isleaf and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT')::bigint as "rows_in_default!"
           from pg_class t join pg_namespace s on s.oid = t.relnamespace
           where s.nspname = 'ops' and t.relkind = 'p' and not t.relispartition
           order by t.relname"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| PartitionStatus {
            table: row.table,
            partitions: row.partitions,
            size_bytes: row.size,
            rows_in_default: row.rows_in_default,
        })
        .collect())
}
