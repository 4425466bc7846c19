use super::{Backlog, KindLimit, Needs, Queued, Wait, service, waits};
use crate::{
    Error,
    access::{self, Actor},
    host::{HostState, HostView, WorkerView},
    id::{HostId, RunId, UserId},
    postgres::testing::TestDb,
    run::{RunKind, RunStatus},
};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{ConnectOptions, Executor};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn host(name: &str) -> HostView {
    let worker = WorkerView {
        id: format!("{name}-worker"),
        host_id: None,
        host: Some(name.to_owned()),
        state: HostState::Alive,
        version: "1".to_owned(),
        capacity: 2,
        running: 0,
        kinds: vec!["build".to_owned()],
        started_at: NOW,
        last_heartbeat_at: NOW,
        draining_since: None,
        stopping_since: None,
        forgettable: false,
        cpus: Some(4),
        memory_total_bytes: Some(100),
        memory_free_bytes: Some(50),
        disk_total_bytes: Some(100),
        disk_free_bytes: Some(50),
    };
    HostView {
        id: HostId::new(),
        name: name.to_owned(),
        state: HostState::Alive,
        labels: vec!["eu".to_owned()],
        min_free_memory_bytes: 10,
        min_free_disk_bytes: 10,
        created_at: NOW,
        revoked_at: None,
        joined_at: None,
        environments: 0,
        production_environments: 0,
        forgettable: false,
        workers: vec![worker],
    }
}

fn needs() -> Needs {
    Needs {
        kind: RunKind::Build,
        run_after: NOW,
        held_by: None,
        host_id: None,
        labels: Vec::new(),
        kind_max: None,
    }
}

fn with(change: impl Fn(&mut HostView)) -> HostView {
    let mut host = host("a");
    change(&mut host);
    host
}

#[test]
fn the_reason_is_the_first_that_leaves_no_host() {
    let place = |needs: &Needs, hosts: &[HostView]| {
        let found = waits(needs, hosts, NOW);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    };
    let draining = with(|host| host.state = HostState::Draining);
    let full = with(|host| host.workers[0].running = 2);
    assert_eq!(place(&needs(), &[host("a")]), Wait::Turn);
    assert_eq!(place(&needs(), &[]), Wait::Worker);
    assert_eq!(place(&needs(), &[with(|host| host.state = HostState::Silent)]), Wait::Worker);
    assert_eq!(place(&Needs { kind: RunKind::Backup, ..needs() }, &[host("a")]), Wait::Worker);
    assert_eq!(place(&needs(), std::slice::from_ref(&draining)), Wait::Draining);
    assert_eq!(place(&needs(), std::slice::from_ref(&full)), Wait::Slot);
    assert_eq!(place(&needs(), &[full.clone(), host("b")]), Wait::Turn);
    assert_eq!(place(&needs(), &[with(|host| host.workers[0].memory_free_bytes = Some(9))]), Wait::Memory);
    assert_eq!(place(&needs(), &[with(|host| host.workers[0].disk_free_bytes = Some(9))]), Wait::Disk);
    let ssd = Needs { labels: vec!["eu".to_owned(), "ssd".to_owned()], ..needs() };
    assert_eq!(place(&ssd, &[host("a")]), Wait::Labels { labels: ssd.labels.clone() });
    // Bound to one host, another that is free does not help.
    let bound = Needs { host_id: Some(draining.id), ..needs() };
    let other = Wait::Host { name: "a".to_owned(), state: HostState::Draining };
    assert_eq!(place(&bound, &[draining, host("b")]), other);
}

#[test]
fn what_concerns_the_run_itself_is_said_beside_it() {
    let (holder, at) = (RunId::new(), NOW + TimeDelta::hours(1));
    let needs =
        Needs { run_after: at, held_by: Some((holder, "branch:x".to_owned())), kind_max: Some(3), ..needs() };
    let held = Wait::Run { id: holder, key: "branch:x".to_owned() };
    assert_eq!(waits(&needs, &[host("a")], NOW), [Wait::Time { at }, held, Wait::Kind { max: 3 }]);
}

struct Yard {
    db: TestDb,
    admin: Actor,
}

impl Yard {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let mut superuser = db.superuser_options().connect().await.unwrap();
        superuser
            .execute(
                "insert into ops.projects (slug, name) values ('shop', 'Shop');
                 insert into ops.hosts (name) values ('one');
                 insert into ops.workers (id, host_id, version, capacity) select 'w', id, '1', 2 from ops.hosts;
                 insert into ops.kind_limits values ('test', 1);
                 insert into ops.runs (project_id, kind, status, git_ref, commit_sha, serial_key, worker_id, lease,
                     lease_expires_at, priority, queued_at)
                 select id, v.kind, v.status, v.git_ref, repeat('a', 40), v.key, v.worker, v.lease,
                     now() + interval '30 seconds', v.priority, now() + (v.age - 9) * interval '1 second'
                 from ops.projects, (values
                     ('build', 'running', 'held', 'branch:1', 'w', 1, 0, 0),
                     ('test', 'claimed', 'limit', null, 'w', 2, 0, 1),
                     ('build', 'queued', 'second', 'branch:1', null, null, 0, 2),
                     ('test', 'queued', 'third', null, null, null, 0, 3),
                     ('build', 'queued', 'first', null, null, null, 5, 4),
                     ('build', 'succeeded', 'over', null, null, null, 0, 5)
                 ) as v (kind, status, git_ref, key, worker, lease, priority, age)",
            )
            .await
            .unwrap();
        let admin = sqlx::query_scalar!(r#"select ops.platform_administrator() as "id!""#);
        let admin = UserId(admin.fetch_one(&mut superuser).await.unwrap());
        Self { db, admin: Actor { user_id: admin, platform_admin: true } }
    }

    async fn list(&self) -> Vec<Queued> {
        self.backlog().await.runs
    }

    async fn backlog(&self) -> Backlog {
        let mut txn = access::begin_as(&self.db.web, self.admin.user_id).await.unwrap();
        service::list(&mut txn, &self.admin).await.unwrap()
    }

    async fn limit(&self, actor: &Actor, kind: RunKind, max: Option<i32>) -> Result<(), Error> {
        let mut txn = access::begin_as(&self.db.web, actor.user_id).await.unwrap();
        service::set_limit_in_txn(&mut txn, actor, kind, max).await?;
        txn.commit().await.unwrap();
        Ok(())
    }

    async fn prioritise(&self, run: RunId, priority: i32) -> Result<(), Error> {
        let mut txn = access::begin_as(&self.db.web, self.admin.user_id).await.unwrap();
        service::set_priority_in_txn(&mut txn, &self.admin, run, priority).await?;
        txn.commit().await.unwrap();
        Ok(())
    }
}

#[tokio::test]
async fn the_queue_is_in_the_order_of_claims_and_says_what_each_waits_for() {
    let yard = Yard::new().await;
    let queue = yard.list().await;
    let names: Vec<_> = queue.iter().map(|run| run.git_ref.as_str()).collect();
    assert_eq!(names, ["held", "limit", "first", "second", "third"]);
    assert_eq!((queue[0].host.as_deref(), queue[0].waits.len()), (Some("one"), 0));
    // Two runs are all that the worker holds at a time.
    assert_eq!(queue[2].waits, [Wait::Slot]);
    let held = Wait::Run { id: queue[0].id, key: "branch:1".to_owned() };
    assert_eq!(queue[3].waits, [held, Wait::Slot]);
    // Nobody here takes tests.
    assert_eq!(queue[4].waits, [Wait::Kind { max: 1 }, Wait::Worker]);
}

/// What one look shows has an end; how much there is has none.
#[tokio::test]
async fn a_queue_longer_than_one_look_is_counted_whole() {
    let yard = Yard::new().await;
    let known = yard.backlog().await;
    assert_eq!((known.under_way, known.waiting, known.runs.len(), known.cut_off()), (2, 3, 5, None));
    let mut superuser = yard.db.superuser_options().connect().await.unwrap();
    let more = |count: i64| {
        sqlx::query!(
            "insert into ops.runs (project_id, kind, git_ref, commit_sha)
             select p.id, 'build', 'more', repeat('a', 40) from ops.projects p, generate_series(1, $1::bigint)",
            count
        )
    };
    more(service::MOST - 5).execute(&mut superuser).await.unwrap();
    let full = yard.backlog().await;
    assert_eq!((full.runs.len(), full.cut_off()), (500, None));
    more(7).execute(&mut superuser).await.unwrap();
    let long = yard.backlog().await;
    assert_eq!((long.under_way, long.waiting, long.runs.len(), long.cut_off()), (2, 505, 500, Some(507)));
    assert_eq!(long.runs[..5], full.runs[..5]);
    superuser.execute("update ops.runs set status = 'canceled', finished_at = now()").await.unwrap();
    let empty = yard.backlog().await;
    assert_eq!((empty.under_way, empty.waiting, empty.runs.len(), empty.cut_off()), (0, 0, 0, None));
}

#[tokio::test]
async fn priority_is_for_what_still_waits() {
    let yard = Yard::new().await;
    let (running, last) = (yard.list().await[0].id, yard.list().await[4].id);
    yard.prioritise(last, 50).await.unwrap();
    let queue = yard.list().await;
    assert_eq!((queue[2].id, queue[2].priority, queue[2].status), (last, 50, RunStatus::Queued));
    let refused = yard.prioritise(running, 50).await.unwrap_err();
    assert_eq!(refused.detail().unwrap().code, "run.not_queued");
    let refused = yard.prioritise(last, 101).await.unwrap_err();
    assert_eq!(refused.detail().unwrap().code, "run.priority");
    let refused = yard.prioritise(RunId::new(), 1).await.unwrap_err();
    assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
    let mut superuser = yard.db.superuser_options().connect().await.unwrap();
    let audited = sqlx::query_scalar!("select detail from ops.audit_log where action = 'run.priority'");
    let audited = audited.fetch_all(&mut superuser).await.unwrap();
    assert_eq!(audited, [serde_json::json!({ "priority": 50 })]);
}

#[tokio::test]
async fn limits_of_kinds_are_set_lifted_and_shown() {
    let yard = Yard::new().await;
    let limit = |kind, max_running| KindLimit { kind, max_running };
    assert_eq!(yard.backlog().await.limits, [limit(RunKind::Test, 1)]);
    yard.limit(&yard.admin, RunKind::Test, Some(2)).await.unwrap();
    yard.limit(&yard.admin, RunKind::Backup, Some(0)).await.unwrap();
    let seen = yard.backlog().await;
    assert_eq!(seen.limits, [limit(RunKind::Backup, 0), limit(RunKind::Test, 2)]);
    assert_eq!(seen.runs[4].waits, [Wait::Worker], "the limit is not reached any more");
    for _ in 0..2 {
        yard.limit(&yard.admin, RunKind::Test, None).await.unwrap();
    }
    assert_eq!(yard.backlog().await.limits, [limit(RunKind::Backup, 0)]);
    let refused = yard.limit(&yard.admin, RunKind::Test, Some(-1)).await.unwrap_err();
    assert_eq!(refused.detail().unwrap().code, "queue.limit");
    let person = Actor { platform_admin: false, ..yard.admin };
    let refused = yard.limit(&person, RunKind::Test, Some(1)).await.unwrap_err();
    assert!(matches!(refused, Error::Forbidden { .. }), "{refused}");
    let mut superuser = yard.db.superuser_options().connect().await.unwrap();
    let audited = sqlx::query_scalar!("select count(*) from ops.audit_log where action = 'queue.limit'");
    assert_eq!(audited.fetch_one(&mut superuser).await.unwrap(), Some(4));
}
