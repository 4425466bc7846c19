use super::{Problem, Status, Stuck, service};
use crate::{
    Error,
    access::{self, Actor},
    id::UserId,
    postgres::testing::TestDb,
    reconcile::Standing,
};
use sqlx::{ConnectOptions, Executor, PgConnection};

struct Yard {
    db: TestDb,
    superuser: PgConnection,
    admin: Actor,
}

impl Yard {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let mut superuser = db.superuser_options().connect().await.unwrap();
        superuser.execute("insert into ops.projects (slug, name) values ('shop', 'Shop')").await.unwrap();
        // As after every migration.
        superuser.execute("select ops.ensure_partitions()").await.unwrap();
        let admin = sqlx::query_scalar!(r#"select ops.platform_administrator() as "id!""#);
        let admin = UserId(admin.fetch_one(&mut superuser).await.unwrap());
        Self { db, superuser, admin: Actor { user_id: admin, platform_admin: true, address: None } }
    }

    async fn status(&self) -> Status {
        let mut txn = access::begin_as(&self.db.web, self.admin.user_id).await.unwrap();
        service::status(&mut txn, &self.admin).await.unwrap()
    }
}

#[tokio::test]
async fn a_platform_with_a_worker_and_nothing_to_do_is_well() {
    let mut yard = Yard::new().await;
    assert_eq!(yard.status().await.problems, [Problem::NoWorker]);
    yard.superuser
        .execute("insert into ops.workers (id, version, capacity) values ('w', '1', 2)")
        .await
        .unwrap();
    let status = yard.status().await;
    assert_eq!(status.problems, []);
    assert_eq!(status.migrations.applied, status.migrations.known);
    assert!(status.postgres.version.starts_with(|c: char| c.is_ascii_digit()), "{}", status.postgres.version);
    assert!(status.postgres.size_bytes > 1 << 20 && status.postgres.connections > 0);
    assert!(status.partitions.iter().any(|table| table.table == "run_events" && table.partitions > 0));
}

#[tokio::test]
async fn what_hangs_is_a_problem() {
    let mut yard = Yard::new().await;
    yard.superuser
        .execute(
            "insert into ops.workers (id, version, capacity, last_heartbeat_at)
                 values ('alive', '1', 2, now()), ('dead', '1', 2, now() - interval '1 hour');
             insert into ops.runs (project_id, kind, status, git_ref, commit_sha, worker_id, lease_expires_at,
                 cancel_requested_at, queued_at, run_after)
             select id, 'build', v.status, v.git_ref, repeat('a', 40), v.worker, now() + v.lease, now() - v.canceled,
                 now() - interval '2 hours', now() + v.after
             from ops.projects, (values
                 ('running', 'lost', 'dead', interval '-10 minutes', null, interval '-2 hours'),
                 ('running', 'canceled', 'alive', interval '20 seconds', interval '5 minutes', interval '-2 hours'),
                 ('running', 'fine', 'alive', interval '20 seconds', interval '1 second', interval '-2 hours'),
                 ('queued', 'waits', null, null, null, interval '-1 hour'),
                 ('queued', 'later', null, null, null, interval '1 hour')
             ) as v (status, git_ref, worker, lease, canceled, after)",
        )
        .await
        .unwrap();
    let status = yard.status().await;
    let since = status.queue.oldest_waiting_since.unwrap();
    let seen = (status.queue.waiting, status.queue.later, status.queue.running);
    assert_eq!(seen, (1, 1, 3));
    assert_eq!((status.checked_at - since).num_minutes(), 60);
    let stuck: Vec<_> = status.queue.stuck.iter().map(|run| run.why).collect();
    assert!(stuck.len() == 2 && stuck.contains(&Stuck::LeaseOver) && stuck.contains(&Stuck::NotCanceled));
    assert_eq!(
        status.problems,
        [
            Problem::WorkerSilent { worker: "dead".to_owned() },
            Problem::RunsStuck { count: 2 },
            Problem::QueueStands { since },
        ]
    );
}

#[tokio::test]
async fn a_host_that_only_reports_and_a_reconciler_that_fails_are_problems() {
    let mut yard = Yard::new().await;
    yard.superuser
        .execute(
            "insert into ops.hosts (name, epoch_standing) values ('h', 'behind');
             insert into ops.workers (id, host_id, version, capacity) select 'w', id, '1', 2 from ops.hosts;
             insert into ops.reconciler_reports (host_id, name, started_at, looked_at, acted, would, mode, error)
                 select id, 'networks', now(), 3, 0, 1, 'report', 'Docker does not answer' from ops.hosts;
             insert into ops.reconciler_reports (host_id, name, started_at, looked_at, acted, would, mode)
                 select id, 'images', now(), 3, 0, 1, 'report' from ops.hosts;
             insert into ops.quarantine (host_id, kind, name, original_name, production, reason, deleted_at)
                 select id, 'volume', v.name, v.name, false, 'no owner', v.gone
                 from ops.hosts, (values ('one', null), ('two', now())) as v (name, gone)",
        )
        .await
        .unwrap();
    let status = yard.status().await;
    let (host, error) = ("h".to_owned(), "Docker does not answer".to_owned());
    assert_eq!(
        status.problems,
        [
            Problem::HostOnlyReports { host: host.clone(), standing: Standing::Behind },
            Problem::ReconcilerFails { host, reconciler: "networks".to_owned(), error },
        ]
    );
    assert_eq!((status.reconcilers.len(), status.quarantined), (2, 1));
}

#[tokio::test]
async fn rows_beside_the_partitions_are_a_problem_until_there_is_one() {
    let mut yard = Yard::new().await;
    let beside = Problem::PartitionMissing { table: "audit_log".to_owned() };
    for (sql, is_problem) in [
        (
            "insert into ops.audit_log (action, object_type, outcome, created_at)
             values ('x', 'y', 'allowed', now() + interval '20 days')",
            true,
        ),
        ("select ops.ensure_partitions(21)", false),
    ] {
        yard.superuser.execute(sql).await.unwrap();
        // PostgreSQL counts rows by and by.
        yard.superuser.execute("select pg_stat_force_next_flush()").await.unwrap();
        assert_eq!(yard.status().await.problems.contains(&beside), is_problem, "{sql}");
    }
}

#[tokio::test]
async fn an_older_schema_is_a_problem() {
    let mut yard = Yard::new().await;
    yard.superuser
        .execute("delete from public._sqlx_migrations where version = (select max(version) from public._sqlx_migrations)")
        .await
        .unwrap();
    let status = yard.status().await;
    let (applied, known) = (status.migrations.applied, status.migrations.known);
    assert!(applied < known);
    assert_eq!(status.problems[0], Problem::MigrationsMissing { applied, known });
}

#[tokio::test]
async fn only_administrators_see_it() {
    let yard = Yard::new().await;
    let mut txn = access::begin_as(&yard.db.web, yard.admin.user_id).await.unwrap();
    let person = Actor { platform_admin: false, ..yard.admin };
    assert!(matches!(service::status(&mut txn, &person).await, Err(Error::Forbidden { .. })));
}

/// What is cut off, or forgotten, is nothing to see to any more.
#[tokio::test]
async fn hosts_that_are_gone_do_not_keep_the_platform_ill() {
    let mut yard = Yard::new().await;
    yard.superuser
        .execute(
            "insert into ops.hosts (name, created_at) values ('here', now()), ('gone', now()), ('dead', now());
             insert into ops.workers (id, host_id, version, capacity, last_heartbeat_at)
                 select name, id, '1', 2, case when name = 'here' then now() else now() - interval '1 day' end
                 from ops.hosts;
             insert into ops.reconciler_reports (host_id, name, started_at, looked_at, acted, would, mode, error)
                 select id, 'networks', now(), 3, 0, 0, 'act', 'Docker does not answer'
                 from ops.hosts where name <> 'here'",
        )
        .await
        .unwrap();
    let error = "Docker does not answer".to_owned();
    let fails = |host: &str| Problem::ReconcilerFails {
        host: host.to_owned(),
        reconciler: "networks".to_owned(),
        error: error.clone(),
    };
    let silent = |worker: &str| Problem::WorkerSilent { worker: worker.to_owned() };
    assert_eq!(yard.status().await.problems, [silent("dead"), silent("gone"), fails("dead"), fails("gone")]);
    yard.superuser.execute("update ops.hosts set revoked_at = now() where name = 'gone'").await.unwrap();
    assert_eq!(yard.status().await.problems, [silent("dead"), fails("dead")]);
    let mut txn = access::begin_as(&yard.db.web, yard.admin.user_id).await.unwrap();
    assert!(crate::host::service::forget_in_txn(&mut txn, &yard.admin, "dead").await.unwrap());
    txn.commit().await.unwrap();
    assert_eq!(yard.status().await.problems, []);
}
