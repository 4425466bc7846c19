use super::{HostState, HostView, WorkerView, state_of};
use crate::Result;
use sqlx::PgConnection;

/// A worker that says nothing for so long has lost its leases too.
pub const SILENT_AFTER_SECONDS: f64 = 30.0;

/// Those heard of last first.
pub async fn workers(conn: &mut PgConnection) -> Result<Vec<WorkerView>> {
    let rows = sqlx::query!(
        r#"select w.id, w.host_id, h.name as "host?", w.version, w.capacity, w.kinds, w.started_at,
               greatest(w.last_heartbeat_at, b.at) as "last_heartbeat_at!", w.draining_since,
               b.stopping_since as "stopping_since?",
               h.revoked_at is not null as "revoked!",
               greatest(w.last_heartbeat_at, b.at) < now() - make_interval(secs => $1) as "silent!",
               (select count(*) from ops.runs r
                where r.worker_id = w.id and r.status in ('claimed', 'running')) as "running!",
               ops.worker_holds(w.id) is null as "forgettable!",
               b.cpus, b.memory_total_bytes, b.memory_free_bytes, b.disk_total_bytes, b.disk_free_bytes
           from ops.workers w
           left join ops.hosts h on h.id = w.host_id
           left join ops.worker_heartbeats b on b.worker_id = w.id
           order by "silent!", h.name nulls last, w.id"#,
        SILENT_AFTER_SECONDS
    )
    .fetch_all(conn)
    .await?;
    let state = |revoked, silent, draining| match (revoked, silent, draining) {
        (true, ..) => HostState::Revoked,
        (_, true, _) => HostState::Silent,
        (.., true) => HostState::Draining,
        _ => HostState::Alive,
    };
    Ok(rows
        .into_iter()
        .map(|row| WorkerView {
            state: state(row.revoked, row.silent, row.draining_since.or(row.stopping_since).is_some()),
            host_id: row.host_id.map(Into::into),
            id: row.id,
            host: row.host,
            version: row.version,
            capacity: row.capacity,
            running: row.running,
            kinds: row.kinds,
            started_at: row.started_at,
            last_heartbeat_at: row.last_heartbeat_at,
            draining_since: row.draining_since,
            stopping_since: row.stopping_since,
            forgettable: row.forgettable,
            cpus: row.cpus,
            memory_total_bytes: row.memory_total_bytes,
            memory_free_bytes: row.memory_free_bytes,
            disk_total_bytes: row.disk_total_bytes,
            disk_free_bytes: row.disk_free_bytes,
        })
        .collect())
}

/// By name; those that may not come back last.
pub async fn hosts(conn: &mut PgConnection) -> Result<Vec<HostView>> {
    let mut workers = workers(conn).await?;
    let rows = sqlx::query!(
        r#"select h.id, h.name, h.labels, h.min_free_memory_bytes, h.min_free_disk_bytes, h.created_at, h.revoked_at, h.joined_at,
               (select count(*) from ops.environments e
                where e.host_id = h.id and e.state = 'running') as "environments!",
               (select count(*) from ops.environments e
                where e.host_id = h.id and e.state = 'running' and e.stage = 'production') as "production_environments!",
               ops.worker_holds(h.name) is null as "forgettable!"
           from ops.hosts h order by h.revoked_at is not null, h.name"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let own: Vec<_> =
                workers.extract_if(.., |worker| worker.host_id == Some(row.id.into())).collect();
            HostView {
                id: row.id.into(),
                name: row.name,
                state: state_of(row.revoked_at.is_some(), &own),
                labels: row.labels,
                min_free_memory_bytes: row.min_free_memory_bytes,
                min_free_disk_bytes: row.min_free_disk_bytes,
                created_at: row.created_at,
                revoked_at: row.revoked_at,
                joined_at: row.joined_at,
                environments: row.environments,
                production_environments: row.production_environments,
                forgettable: row.forgettable && own.is_empty(),
                workers: own,
            }
        })
        .collect())
}
