use super::{HostState, service};
use crate::{
    Error,
    access::{self, Actor},
    id::UserId,
    postgres::testing::TestDb,
};
use sqlx::{ConnectOptions, Executor};

#[tokio::test]
async fn a_host_is_what_its_worker_is() {
    let db = TestDb::new().await;
    let mut superuser = db.superuser_options().connect().await.unwrap();
    superuser
        .execute(
            "insert into ops.hosts (name, labels, revoked_at) values
                 ('big', '{ssd,eu}', null), ('gone', '{}', now()), ('old', '{}', null), ('quiet', '{}', null),
                 ('stops', '{}', null);
             insert into ops.workers (id, host_id, version, capacity, last_heartbeat_at, draining_since)
                 select w.id, h.id, '1', 4, now() - w.silent, w.draining
                 from (values ('a', 'big', interval '0', null), ('b', 'gone', interval '0', null),
                     ('c', 'old', interval '1 day', null), ('d', 'quiet', interval '0', now()),
                     ('e', 'old', interval '2 days', null), ('f', 'stops', interval '0', null)
                 ) as w (id, host, silent, draining)
                 join ops.hosts h on h.name = w.host;
             -- What the exact heartbeat says counts: the worker's own row may lag.
             update ops.workers set last_heartbeat_at = now() - interval '5 minutes' where id = 'a';
             insert into ops.worker_heartbeats (worker_id, at, cpus, memory_total_bytes, memory_free_bytes)
                 values ('a', now(), 8, 16, 4);
             insert into ops.worker_heartbeats (worker_id, stopping_since) values ('f', now())",
        )
        .await
        .unwrap();
    let admin = sqlx::query_scalar!(r#"select ops.platform_administrator() as "id!""#);
    let admin = UserId(admin.fetch_one(&mut superuser).await.unwrap());
    let actor = Actor { user_id: admin, platform_admin: true, address: None };
    let mut txn = access::begin_as(&db.web, admin).await.unwrap();
    let hosts = service::list(&mut txn, &actor).await.unwrap();
    let seen: Vec<_> = hosts.iter().map(|host| (host.name.as_str(), host.state)).collect();
    assert_eq!(
        seen,
        [
            ("big", HostState::Alive),
            ("old", HostState::Silent),
            ("quiet", HostState::Draining),
            ("stops", HostState::Draining),
            ("gone", HostState::Revoked)
        ]
    );
    let big = hosts[0].worker().unwrap();
    assert_eq!((big.cpus, big.memory_total_bytes, big.memory_free_bytes), (Some(8), Some(16), Some(4)));
    assert_eq!(hosts[1].worker().unwrap().id, "c", "the one heard of last speaks for its host");

    let stranger = Actor { platform_admin: false, ..actor };
    let refused = service::list(&mut txn, &stranger).await.unwrap_err();
    assert!(matches!(refused, Error::Forbidden { .. }), "{refused}");
}

/// What the service forgot, row level security would refuse.
#[tokio::test]
async fn a_person_who_is_no_administrator_sees_no_host() {
    let db = TestDb::new().await;
    let mut superuser = db.superuser_options().connect().await.unwrap();
    superuser.execute("insert into ops.hosts (name) values ('big')").await.unwrap();
    let user = sqlx::query_scalar!(
        "insert into ops.users (name, email) values ('x', 'x@example.test') returning id"
    );
    let user = UserId(user.fetch_one(&mut superuser).await.unwrap());
    let mut txn = access::begin_as(&db.web, user).await.unwrap();
    assert_eq!(super::query::hosts(&mut txn).await.unwrap(), []);
}

#[tokio::test]
async fn who_is_silent_and_holds_nothing_may_be_forgotten() {
    let db = TestDb::new().await;
    let mut superuser = db.superuser_options().connect().await.unwrap();
    superuser
        .execute(
            "insert into ops.projects (slug, name) values ('shop', 'Shop');
             insert into ops.hosts (name, created_at)
                 select name, now() - interval '1 day'
                 from unnest('{alive,builds,waits,serves,keeps,idle,left,twin}'::text[]) name;
             insert into ops.hosts (name) values ('young');
             insert into ops.workers (id, host_id, version, capacity, last_heartbeat_at)
                 select name, id, '1', 1, now() - interval '1 hour' from ops.hosts where name not in ('left', 'young');
             -- The exact heartbeat counts.
             insert into ops.worker_heartbeats (worker_id, at) values ('alive', now());
             insert into ops.workers (id, host_id, version, capacity)
                 select 'twin-2', id, '1', 1 from ops.hosts where name = 'twin';
             insert into ops.workers (id, version, capacity, last_heartbeat_at)
                 values ('homeless', '1', 1, now() - interval '1 hour');
             insert into ops.runs (project_id, kind, git_ref, commit_sha, status, worker_id, lease_expires_at)
                 select id, 'build', 'x', repeat('a', 40), 'running', 'builds', now() + interval '1 hour'
                 from ops.projects;
             insert into ops.runs (project_id, kind, git_ref, commit_sha, host_id)
                 select p.id, 'build', 'x', repeat('a', 40), h.id from ops.projects p, ops.hosts h where h.name = 'waits';
             insert into ops.environments (project_id, stage, state, git_ref, commit_sha, database_name, hostname, host_id)
                 select p.id, 'staging', v.state, 'x', repeat('a', 40), 'env_' || v.host || v.state, v.host || v.state, h.id
                 from ops.projects p, (values ('serves', 'stopped'), ('twin', 'running'), ('idle', 'destroyed'),
                     ('idle', 'failed')) as v (host, state)
                 join ops.hosts h on h.name = v.host;
             insert into ops.quarantine (host_id, kind, name, original_name, production, reason, deleted_at)
                 select h.id, 'volume', 'v', 'v', true, 'x', v.deleted
                 from (values ('keeps', null), ('idle', now())) as v (host, deleted) join ops.hosts h on h.name = v.host;
             insert into ops.reconciler_reports (host_id, name, started_at, looked_at, acted, would, mode, error)
                 select id, 'networks', now(), 0, 0, 0, 'act', 'it failed' from ops.hosts where name = 'idle'",
        )
        .await
        .unwrap();
    let admin = sqlx::query_scalar!(r#"select ops.platform_administrator() as "id!""#);
    let admin = UserId(admin.fetch_one(&mut superuser).await.unwrap());
    let actor = Actor { user_id: admin, platform_admin: true, address: None };
    let mut txn = access::begin_as(&db.web, admin).await.unwrap();
    let hosts = service::list(&mut txn, &actor).await.unwrap();
    let mut offered: Vec<_> = service::workers(&mut txn, &actor)
        .await
        .unwrap()
        .into_iter()
        .filter(|worker| worker.forgettable)
        .map(|worker| worker.id)
        .chain(hosts.into_iter().filter(|host| host.forgettable).map(|host| host.name))
        .collect();
    offered.sort();
    assert_eq!(offered, ["homeless", "idle", "left", "twin"]);
    drop(txn);

    let refused = [
        ("alive", "worker.heard"),
        ("young", "worker.heard"),
        ("twin-2", "worker.heard"),
        ("builds", "worker.holds_runs"),
        ("waits", "worker.holds_runs"),
        ("serves", "worker.holds_environments"),
        ("keeps", "worker.holds_quarantine"),
        ("nobody", "worker.unknown"),
    ];
    for (name, code) in refused {
        let mut txn = access::begin_as(&db.web, admin).await.unwrap();
        let error = service::forget_in_txn(&mut txn, &actor, name).await.unwrap_err();
        assert_eq!(error.detail().unwrap().code, code, "{name}");
    }
    for (name, with_host) in [("homeless", false), ("twin", false), ("idle", true), ("left", true)] {
        let mut txn = access::begin_as(&db.web, admin).await.unwrap();
        assert_eq!(service::forget_in_txn(&mut txn, &actor, name).await.unwrap(), with_host, "{name}");
        txn.commit().await.unwrap();
    }
    let mut txn = access::begin_as(&db.web, admin).await.unwrap();
    let hosts = service::list(&mut txn, &actor).await.unwrap();
    let left: Vec<_> = hosts.iter().map(|host| (host.name.as_str(), host.workers.len())).collect();
    let expected =
        [("alive", 1), ("builds", 1), ("keeps", 1), ("serves", 1), ("twin", 1), ("waits", 1), ("young", 0)];
    assert_eq!(left, expected);
    drop(txn);
    // Its history stays.
    let kept = sqlx::query_scalar!(
        r#"select count(*) as "count!" from ops.environments where hostname like 'idle%' and host_id is null"#
    );
    assert_eq!(kept.fetch_one(&mut superuser).await.unwrap(), 2);
    let audited = sqlx::query_scalar!(
        r#"select count(*) as "count!" from ops.audit_log where action = 'worker.forget'"#
    );
    assert_eq!(audited.fetch_one(&mut superuser).await.unwrap(), 4);

    let person = Actor { platform_admin: false, ..actor };
    let mut txn = access::begin_as(&db.web, admin).await.unwrap();
    let refused = service::forget_in_txn(&mut txn, &person, "twin").await.unwrap_err();
    assert!(matches!(refused, Error::Forbidden { .. }), "{refused}");
    // Not by the function itself either.
    for role in ["ops_worker", "ops_web"] {
        superuser.execute(format!("set session authorization {role}").as_str()).await.unwrap();
        let refused = superuser.execute("select ops.forget_worker('serves')").await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501", "{role}");
        superuser.execute("reset session authorization").await.unwrap();
    }
}

/// Whoever had its login and its certificate has nothing afterwards.
#[tokio::test]
async fn a_joined_host_that_is_forgotten_cannot_come_back_by_itself() {
    let db = TestDb::new().await;
    let mut superuser = db.superuser_options().connect().await.unwrap();
    let id = crate::id::HostId::new();
    let role = format!("ops_host_{}", id.0.simple());
    let verifier = crate::postgres::scram_verifier("secret").unwrap();
    sqlx::query!(
        "insert into ops.hosts (id, name, db_role, fingerprint, created_at, joined_at)
         values ($1, 'far', $2, repeat('a', 64), now() - interval '1 day', now() - interval '1 day')",
        id.0,
        role
    )
    .execute(&mut superuser)
    .await
    .unwrap();
    sqlx::query!("select ops.make_host_login($1, $2)", role, verifier)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    let admin = sqlx::query_scalar!(r#"select ops.platform_administrator() as "id!""#);
    let admin = UserId(admin.fetch_one(&mut superuser).await.unwrap());
    let actor = Actor { user_id: admin, platform_admin: true, address: None };
    let mut txn = access::begin_as(&db.web, admin).await.unwrap();
    assert!(service::forget_in_txn(&mut txn, &actor, "far").await.unwrap());
    txn.commit().await.unwrap();
    let left = sqlx::query!(
        r#"select exists (select from pg_catalog.pg_roles where rolname = $1) as "role!",
               exists (select from ops.node_host(repeat('a', 64))) as "host!""#,
        role
    );
    let left = left.fetch_one(&mut superuser).await.unwrap();
    assert!(!left.role && !left.host);
}
