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
    let actor = Actor { user_id: admin, platform_admin: true };
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
