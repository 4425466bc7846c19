//! Who is given which run, and who hears of it.

use super::{Figures, Machine, Registration, claim, finish, heartbeat, register_worker, wait};
use crate::{
    id::{HostId, ProjectId, RunId},
    postgres::testing::TestDb,
    run::{RunKind, RunStatus},
};
use sqlx::{ConnectOptions, Executor, PgConnection, postgres::PgListener};

pub(super) const GIB: i64 = 1024 * 1024 * 1024;

pub(super) struct Yard {
    pub(super) db: TestDb,
    pub(super) superuser: PgConnection,
}

impl Yard {
    pub(super) async fn new() -> Self {
        let db = TestDb::new().await;
        let mut superuser = db.superuser_options().connect().await.unwrap();
        sqlx::query!(
            "insert into ops.projects (id, slug, name) values ($1, 'shop', 'Shop')",
            ProjectId::new().0
        )
        .execute(&mut superuser)
        .await
        .unwrap();
        Self { db, superuser }
    }

    pub(super) async fn queue(&mut self) -> RunId {
        self.queue_kind(RunKind::Build).await
    }

    pub(super) async fn queue_kind(&mut self, kind: RunKind) -> RunId {
        let id = sqlx::query_scalar!(
            r#"select ops.queue_run('shop', $1, 'refs/heads/main', 'abcdef0') as "id!""#,
            kind.as_str()
        );
        RunId(id.fetch_one(&mut self.superuser).await.unwrap())
    }

    /// A worker of a host of its own with that much memory free.
    pub(super) async fn worker(&mut self, name: &str, capacity: i32, free: i64) -> HostId {
        let mut conn = self.db.worker.acquire().await.unwrap();
        let kinds = [RunKind::Build, RunKind::Backup];
        let new = Registration { worker: name, host: name, version: "1", capacity, kinds: &kinds };
        let (host, _) = register_worker(&mut conn, new).await.unwrap();
        let figures = Figures {
            cpus: 2,
            memory_total_bytes: 16 * GIB,
            memory_free_bytes: free,
            disk_total_bytes: 100 * GIB,
            disk_free_bytes: 50 * GIB,
        };
        heartbeat(&mut conn, name, &[], Machine { figures: Some(figures), stopping: false }).await.unwrap();
        host
    }

    pub(super) async fn claim(&self, worker: &str) -> Option<RunId> {
        let mut conn = self.db.worker.acquire().await.unwrap();
        claim(&mut conn, worker).await.unwrap().map(|claim| claim.id)
    }

    pub(super) async fn hindrance(&mut self, worker: &str) -> Option<String> {
        let why = sqlx::query_scalar!("select ops.worker_hindrance($1)", worker);
        why.fetch_one(&mut self.superuser).await.unwrap()
    }

    /// As if it had waited so long, and the floor had been looked after meanwhile.
    pub(super) async fn age(&mut self, run: RunId, seconds: f64) {
        sqlx::query!(
            "update ops.runs set queued_at = queued_at - make_interval(secs => $2) where id = $1",
            run.0,
            seconds
        )
        .execute(&mut self.superuser)
        .await
        .unwrap();
        sqlx::query!("select ops.sweep_floors(true)").fetch_one(&mut self.superuser).await.unwrap();
    }
}

#[tokio::test]
async fn a_worker_takes_no_more_than_it_has_slots_and_nothing_while_it_drains() {
    let mut yard = Yard::new().await;
    yard.worker("one", 1, 8 * GIB).await;
    let (first, second) = (yard.queue().await, yard.queue().await);
    assert_eq!(yard.claim("one").await, Some(first));
    assert_eq!(yard.claim("one").await, None);
    assert_eq!(yard.hindrance("one").await.as_deref(), Some("full"));
    sqlx::query!("update ops.workers set capacity = 2").execute(&mut yard.superuser).await.unwrap();
    sqlx::query!(r#"select (ops.drain_worker('one', true)).id as "id!""#)
        .fetch_one(&mut yard.superuser)
        .await
        .unwrap();
    assert_eq!(yard.claim("one").await, None);
    assert_eq!(yard.hindrance("one").await.as_deref(), Some("draining"));
    // A restart gives back what it held, and does not end what an administrator asked for.
    yard.worker("one", 2, 8 * GIB).await;
    assert_eq!(yard.hindrance("one").await.as_deref(), Some("draining"));
    sqlx::query!(r#"select (ops.drain_worker('one', false)).id as "id!""#)
        .fetch_one(&mut yard.superuser)
        .await
        .unwrap();
    assert_eq!(yard.claim("one").await, Some(first));
    assert_eq!(yard.claim("one").await, Some(second));
}

#[tokio::test]
async fn sessions_of_one_worker_never_take_more_than_its_slots() {
    let mut yard = Yard::new().await;
    yard.worker("one", 3, 8 * GIB).await;
    for _ in 0..12 {
        yard.queue().await;
    }
    let claims = futures::future::join_all((0..12).map(|_| yard.claim("one"))).await;
    assert_eq!(claims.iter().flatten().count(), 3, "{claims:?}");
}

#[tokio::test]
async fn nothing_is_admitted_where_memory_or_disk_would_run_out() {
    let mut yard = Yard::new().await;
    yard.worker("small", 4, GIB / 4).await;
    let run = yard.queue().await;
    assert_eq!(yard.claim("small").await, None);
    assert_eq!(yard.hindrance("small").await.as_deref(), Some("memory"));
    sqlx::query!("update ops.worker_heartbeats set memory_free_bytes = $1, disk_free_bytes = 1", 4 * GIB)
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    assert_eq!(yard.hindrance("small").await.as_deref(), Some("disk"));
    assert_eq!(yard.claim("small").await, None);
    yard.worker("small", 4, 4 * GIB).await;
    assert_eq!(yard.claim("small").await, Some(run));
}

#[tokio::test]
async fn runs_go_where_they_must_and_else_to_the_host_with_more_memory() {
    let mut yard = Yard::new().await;
    let small = yard.worker("small", 4, 2 * GIB).await;
    yard.worker("large", 4, 12 * GIB).await;
    let any = yard.queue().await;
    // The larger host has two seconds; then whoever asks.
    assert_eq!(yard.claim("small").await, None);
    assert_eq!(yard.claim("large").await, Some(any));
    let late = yard.queue().await;
    yard.age(late, 3.0).await;
    assert_eq!(yard.claim("small").await, Some(late));

    let bound = yard.queue().await;
    sqlx::query!("update ops.runs set host_id = $2 where id = $1", bound.0, small.0)
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    assert_eq!(yard.claim("large").await, None);
    assert_eq!(yard.claim("small").await, Some(bound));

    let labelled = yard.queue().await;
    sqlx::query!("update ops.runs set requires = '{ssd,eu}' where id = $1", labelled.0)
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    assert_eq!(yard.claim("large").await, None);
    sqlx::query!("update ops.hosts set labels = '{eu,ssd,gpu}' where name = 'small'")
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    assert_eq!(yard.claim("small").await, Some(labelled));
}

#[tokio::test]
async fn a_kind_s_limit_holds_across_workers_and_holds_no_other_kind_up() {
    let mut yard = Yard::new().await;
    for name in ["a", "b", "c", "d"] {
        yard.worker(name, 4, 8 * GIB).await;
    }
    sqlx::query!("insert into ops.kind_limits (kind, max_running) values ('backup', 2)")
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    for _ in 0..8 {
        yard.queue_kind(RunKind::Backup).await;
    }
    let build = yard.queue().await;
    let all = ["a", "b", "c", "d", "a", "b", "c", "d"];
    let claims = futures::future::join_all(all.map(|worker| yard.claim(worker))).await;
    let claims: Vec<RunId> = claims.into_iter().flatten().collect();
    assert!(claims.contains(&build), "{claims:?}");
    assert_eq!(claims.len(), 3, "{claims:?}");
}

#[tokio::test]
async fn higher_priorities_go_first_and_age_decides_among_equals() {
    let mut yard = Yard::new().await;
    let (first, second, urgent, lazy) =
        (yard.queue().await, yard.queue().await, yard.queue().await, yard.queue().await);
    for (run, priority) in [(urgent, 7), (lazy, -1)] {
        sqlx::query!(r#"select (ops.set_run_priority($1, $2)).id as "id!""#, run.0, priority)
            .fetch_one(&mut yard.superuser)
            .await
            .unwrap();
    }
    for expected in [urgent, first, second, lazy] {
        assert_eq!(yard.claim("anybody").await, Some(expected));
    }
    assert_eq!(yard.claim("anybody").await, None);
}

/// Claims look from the floor on: what comes back with its age lies below it and is found all the same.
#[tokio::test]
async fn what_comes_back_from_long_ago_is_found_below_the_floor() {
    let mut yard = Yard::new().await;
    let old = yard.queue().await;
    yard.age(old, 3600.0).await;
    assert_eq!(yard.claim("anybody").await, Some(old));
    let floor = |db: &TestDb| {
        let pool = db.owner.clone();
        async move {
            let floor = sqlx::query_scalar!(r#"select last_value as "floor!" from ops.queue_floor"#);
            floor.fetch_one(&pool).await.unwrap()
        }
    };
    sqlx::query!("select ops.requeue_lost_runs()").fetch_one(&yard.db.worker).await.unwrap();
    let risen = floor(&yard.db).await;
    assert!(risen > 0, "nothing waits: the floor rises");
    sqlx::query!("update ops.runs set lease_expires_at = now() - interval '1 minute' where id = $1", old.0)
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    sqlx::query!("select ops.requeue_lost_runs()").fetch_one(&yard.db.worker).await.unwrap();
    assert!(floor(&yard.db).await < risen);
    assert_eq!(yard.claim("anybody").await, Some(old));

    // A transaction that queues and takes its time is found at the next whole sweep.
    for (seconds, is_whole) in [(30, false), (600, true)] {
        sqlx::query!("select ops.sweep_floors(true)").fetch_one(&mut yard.superuser).await.unwrap();
        let late = yard.queue().await;
        sqlx::query!(
            "update ops.runs set queued_at = queued_at - make_interval(secs => $2) where id = $1",
            late.0,
            f64::from(seconds)
        )
        .execute(&mut yard.superuser)
        .await
        .unwrap();
        assert_eq!(yard.claim("anybody").await, None, "it lies below the floor");
        if is_whole {
            sqlx::query!("select ops.requeue_lost_runs()").fetch_one(&yard.db.worker).await.unwrap();
            assert_eq!(yard.claim("anybody").await, None, "a whole sweep was just made");
            sqlx::query!("select setval('ops.swept_whole_at', 0)")
                .fetch_one(&mut yard.superuser)
                .await
                .unwrap();
        }
        sqlx::query!("select ops.requeue_lost_runs()").fetch_one(&yard.db.worker).await.unwrap();
        assert_eq!(yard.claim("anybody").await, Some(late));
    }
}

/// A claim that took so long to commit that the floor of leases went past it.
#[tokio::test]
async fn a_lost_run_below_the_floor_of_leases_is_queued_again() {
    let mut yard = Yard::new().await;
    let run = yard.queue().await;
    assert_eq!(yard.claim("anybody").await, Some(run));
    sqlx::query!("update ops.runs set lease_expires_at = now() - interval '1 minute'")
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    let superuser = &mut yard.superuser;
    sqlx::query!("select setval('ops.lease_floor', 1000000)").fetch_one(&mut *superuser).await.unwrap();
    let now = "select setval('ops.swept_whole_at', extract(epoch from clock_timestamp())::bigint)";
    superuser.execute(now).await.unwrap();
    let requeue = async |pool: &sqlx::PgPool| {
        let requeued = sqlx::query_scalar!(r#"select ops.requeue_lost_runs() as "requeued!""#);
        requeued.fetch_one(pool).await.unwrap()
    };
    assert_eq!(requeue(&yard.db.worker).await, 0);
    sqlx::query!("select setval('ops.swept_whole_at', 0)").fetch_one(&mut yard.superuser).await.unwrap();
    assert_eq!(requeue(&yard.db.worker).await, 1);
    assert_eq!(yard.claim("anybody").await, Some(run));
}

#[tokio::test]
async fn who_waits_and_who_listens_hears_of_queued_runs_and_nobody_else_is_told() {
    let mut yard = Yard::new().await;
    let mut listener = PgListener::connect_with(&yard.db.owner).await.unwrap();
    listener.listen_all(["ops_run", "ops_run_changed", "end"]).await.unwrap();
    let heard = async |yard: &mut Yard, listener: &mut PgListener| {
        yard.queue().await;
        sqlx::query!("select pg_notify('end', '')").execute(&mut yard.superuser).await.unwrap();
        let mut channels = Vec::new();
        loop {
            let told = listener.recv().await.unwrap();
            if told.channel() == "end" {
                return channels;
            }
            channels.push(told.channel().to_owned());
        }
    };
    // Before any console was there, everything is told: somebody may listen with psql.
    assert_eq!(heard(&mut yard, &mut listener).await, ["ops_run", "ops_run_changed"]);
    sqlx::query!("select ops.console_listens()").fetch_one(&yard.db.web).await.unwrap();
    assert_eq!(heard(&mut yard, &mut listener).await, ["ops_run", "ops_run_changed"]);
    sqlx::query!("select setval('ops.console_listens_until', 1)")
        .fetch_one(&mut yard.superuser)
        .await
        .unwrap();
    assert_eq!(heard(&mut yard, &mut listener).await, ["ops_run"]);
    sqlx::query!("select ops.console_listens()").fetch_one(&yard.db.web).await.unwrap();
    assert_eq!(heard(&mut yard, &mut listener).await, ["ops_run", "ops_run_changed"]);
    // All workers have work.
    sqlx::query!("select setval('ops.worker_waits_until', 1)").fetch_one(&mut yard.superuser).await.unwrap();
    assert_eq!(heard(&mut yard, &mut listener).await, ["ops_run_changed"]);
    let mut worker = yard.db.worker.acquire().await.unwrap();
    yard.worker("draining", 1, 8 * GIB).await;
    sqlx::query!(r#"select (ops.drain_worker('draining', true)).id as "id!""#)
        .fetch_one(&mut yard.superuser)
        .await
        .unwrap();
    assert_eq!(
        listener.recv().await.unwrap().channel(),
        "ops_run",
        "who is told to drain or not looks again"
    );
    wait(&mut worker, "draining").await.unwrap();
    assert_eq!(heard(&mut yard, &mut listener).await, ["ops_run_changed"]);
    wait(&mut worker, "anybody").await.unwrap();
    assert_eq!(heard(&mut yard, &mut listener).await, ["ops_run", "ops_run_changed"]);
}

#[tokio::test]
async fn a_heartbeat_renews_a_lease_when_a_third_of_it_is_gone_and_never_another_s() {
    let mut yard = Yard::new().await;
    yard.worker("one", 4, 8 * GIB).await;
    yard.queue().await;
    let mut conn = yard.db.worker.acquire().await.unwrap();
    let held = claim(&mut conn, "one").await.unwrap().unwrap();
    let expiry = async |yard: &mut Yard| {
        let expiry = sqlx::query_scalar!(
            r#"select extract(epoch from lease_expires_at - clock_timestamp())::float8 as "left!" from ops.runs"#
        );
        expiry.fetch_one(&mut yard.superuser).await.unwrap()
    };
    let writes = sqlx::query_scalar!(r#"select xmin::text as "xmin!" from ops.runs"#);
    let before = writes.fetch_one(&mut yard.superuser).await.unwrap();
    assert_eq!(
        heartbeat(&mut conn, "one", &[(held.id, held.lease)], Machine::default()).await.unwrap().len(),
        1
    );
    let writes = sqlx::query_scalar!(r#"select xmin::text as "xmin!" from ops.runs"#);
    assert_eq!(
        writes.fetch_one(&mut yard.superuser).await.unwrap(),
        before,
        "a fresh lease is not written again"
    );

    sqlx::query!("update ops.runs set lease_expires_at = clock_timestamp() + interval '15 seconds'")
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    assert!(
        heartbeat(&mut conn, "one", &[(held.id, held.lease - 1)], Machine::default())
            .await
            .unwrap()
            .is_empty()
    );
    assert!(expiry(&mut yard).await < 16.0);
    assert_eq!(
        heartbeat(&mut conn, "one", &[(held.id, held.lease)], Machine::default()).await.unwrap().len(),
        1
    );
    assert!(expiry(&mut yard).await > 20.0);
}

#[tokio::test]
async fn a_worker_that_stops_claims_nothing_until_it_is_back() {
    let mut yard = Yard::new().await;
    yard.worker("one", 4, 8 * GIB).await;
    let run = yard.queue().await;
    let mut conn = yard.db.worker.acquire().await.unwrap();
    let stopping = Machine { stopping: true, figures: None };
    heartbeat(&mut conn, "one", &[], stopping).await.unwrap();
    assert_eq!(yard.hindrance("one").await.as_deref(), Some("draining"));
    assert_eq!(yard.claim("one").await, None);
    yard.worker("one", 4, 8 * GIB).await;
    assert_eq!(yard.claim("one").await, Some(run));
}

/// What was written by a clock that is an hour ahead of the one of now.
#[tokio::test]
async fn a_clock_that_was_set_back_delays_nothing() {
    let mut yard = Yard::new().await;
    yard.worker("one", 4, 8 * GIB).await;
    let run = yard.queue().await;
    let ahead = "update ops.runs set queued_at = queued_at + interval '1 hour', run_after = run_after + interval '1 hour'";
    yard.superuser.execute(ahead).await.unwrap();
    assert_eq!(yard.claim("one").await, Some(run));

    // Its holder dies, and with it the lease, not an hour later.
    let ahead = "update ops.runs set lease_expires_at = lease_expires_at + interval '1 hour'";
    yard.superuser.execute(ahead).await.unwrap();
    yard.db.worker.execute("select ops.requeue_lost_runs()").await.unwrap();
    let left = sqlx::query_scalar!(
        r#"select extract(epoch from lease_expires_at - clock_timestamp())::float8 as "left!" from ops.runs"#
    );
    assert!(left.fetch_one(&mut yard.superuser).await.unwrap() <= 30.0);
    yard.superuser.execute("update ops.runs set lease_expires_at = clock_timestamp()").await.unwrap();
    yard.db.worker.execute("select ops.requeue_lost_runs()").await.unwrap();
    assert_eq!(yard.claim("one").await, Some(run));

    // One that failed waits, as it was told to.
    yard.superuser.execute("update ops.runs set queued_at = clock_timestamp()").await.unwrap();
    let mut conn = yard.db.worker.acquire().await.unwrap();
    let lease = sqlx::query_scalar!(r#"select lease as "lease!" from ops.runs"#);
    let lease = lease.fetch_one(&mut yard.superuser).await.unwrap();
    sqlx::query!(r#"select ops.retry_run($1, $2, 'again', '5 minutes') as "run: ()""#, run.0, lease)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    assert_eq!(yard.claim("one").await, None);
}

/// Rows that a long transaction keeps alive are not met again by every claim and start.
#[tokio::test]
async fn a_long_transaction_does_not_make_claims_read_more() {
    const LIVES: i64 = 1500;
    let mut yard = Yard::new().await;
    yard.worker("one", 1, 8 * GIB).await;
    let mut long = yard.db.owner.acquire().await.unwrap();
    long.execute("begin isolation level repeatable read; select from ops.runs").await.unwrap();
    let mut worker = yard.db.worker.acquire().await.unwrap();
    for life in 0..LIVES {
        let run = yard.queue().await;
        let claim = claim(&mut worker, "one").await.unwrap().unwrap();
        assert_eq!(claim.id, run);
        finish(&mut worker, &claim, RunStatus::Succeeded, Some(0), None).await.unwrap();
        if life % 20 == 0 {
            sqlx::query!("select ops.requeue_lost_runs()").fetch_one(&mut *worker).await.unwrap();
        }
    }
    sqlx::query!(r#"select pg_stat_force_next_flush() as "flushed: ()""#)
        .fetch_one(&mut *worker)
        .await
        .unwrap();
    let read = sqlx::query_scalar!(
        r#"select idx_tup_read as "read!" from pg_stat_user_indexes where schemaname = 'ops' and indexrelname = 'runs_active'"#
    );
    let read = read.fetch_one(&mut yard.superuser).await.unwrap() / LIVES;
    // Two entries for each of the leases above the floor; all that there ever were would be as many as lives, and more.
    assert!(read < 700, "each life read {read} entries of what is under way");
    long.execute("rollback").await.unwrap();
}
