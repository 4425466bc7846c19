//! A pool hands the same connection to one request after the other. However a request ends, the next is not taken for
//! its user.

use super::{ops, testing::TestDb};
use crate::{
    access::{self, Actor},
    id::UserId,
};
use sqlx::{ConnectOptions, Executor, PgPool, Row};
use std::time::Duration;
use uuid::Uuid;

/// How a request may end while the connection is its own.
#[derive(Debug, Clone, Copy)]
enum End {
    Commit,
    Rollback,
    /// The transaction is dropped, as by `?`.
    Dropped,
    /// A statement fails, and nobody looks after the transaction.
    Failed,
    /// The task panics.
    Panic,
    /// The client goes away while a query runs: the future is dropped in the middle.
    Cancelled,
    /// A savepoint is left behind.
    Nested,
}

async fn end(pool: &PgPool, user: UserId, how: End) {
    let address = Some("192.0.2.7".parse().unwrap());
    let actor = Actor { user_id: user, platform_admin: false, address };
    let mut txn = access::begin_as(pool, actor).await.unwrap();
    assert_eq!(asks(&mut txn).await, Some(user.0), "{how:?}");
    assert_eq!(is_at(&mut txn).await.as_deref(), Some("192.0.2.7"), "{how:?}");
    match how {
        End::Commit => txn.commit().await.unwrap(),
        End::Rollback => txn.rollback().await.unwrap(),
        End::Dropped => drop(txn),
        End::Failed => {
            assert!(txn.execute("select 1 / 0").await.is_err());
            drop(txn);
        }
        End::Panic => {
            let task = tokio::spawn(async move {
                let _txn = txn;
                panic!("on purpose");
            });
            assert!(task.await.is_err());
        }
        End::Cancelled => {
            let query = async move { txn.execute("select pg_sleep(30)").await };
            assert!(tokio::time::timeout(Duration::from_millis(50), query).await.is_err());
        }
        End::Nested => {
            txn.execute("savepoint inner_one").await.unwrap();
            drop(txn);
        }
    }
}

async fn asks(conn: &mut sqlx::PgConnection) -> Option<Uuid> {
    conn.fetch_one("select ops.current_user_id()").await.unwrap().get(0)
}

async fn is_at(conn: &mut sqlx::PgConnection) -> Option<String> {
    // As the function that writes the audit log asks.
    let sql = "select nullif(current_setting('ops.client_address', true), '')";
    conn.fetch_one(sql).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_request_on_the_connection_is_not_taken_for_the_last_one() {
    let db = TestDb::new().await;
    let pool = ops::connect(db.options(ops::Role::Web), 1);
    let (one, other) = (UserId(Uuid::now_v7()), UserId(Uuid::now_v7()));
    let mut pids = Vec::new();
    for how in [End::Commit, End::Rollback, End::Dropped, End::Failed, End::Panic, End::Nested, End::Commit] {
        end(&pool, one, how).await;
        // Without saying who: nobody.
        let mut conn = pool.acquire().await.unwrap();
        assert_eq!(asks(&mut conn).await, None, "after {how:?}");
        assert_eq!(is_at(&mut conn).await, None, "after {how:?}");
        pids.push(conn.fetch_one("select pg_backend_pid()").await.unwrap().get::<i32, _>(0));
        drop(conn);
        // Saying so: that one.
        let mut txn = access::begin_as(&pool, other).await.unwrap();
        assert_eq!(asks(&mut txn).await, Some(other.0), "after {how:?}");
        assert_eq!(is_at(&mut txn).await, None, "after {how:?}");
    }
    // It was one and the same connection, else this proved nothing.
    assert!(pids.windows(2).all(|pair| pair[0] == pair[1]), "{pids:?}");
}

/// The query is still running when its connection goes back: the pool waits for it or gives the connection up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_cancelled_in_the_middle_of_a_query_leaves_nothing_behind() {
    let db = TestDb::new().await;
    let pool = ops::connect(db.options(ops::Role::Web), 1);
    end(&pool, UserId(Uuid::now_v7()), End::Cancelled).await;
    // Ends the sleep, so that whoever waits for the connection need not wait so long.
    let mut superuser = db.superuser_options().connect().await.unwrap();
    let sleeping = "select pg_cancel_backend(pid) from pg_stat_activity
                    where datname = current_database() and query = 'select pg_sleep(30)'";
    superuser.execute(sleeping).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    assert_eq!(asks(&mut conn).await, None);
    assert_eq!(is_at(&mut conn).await, None);
}

/// The setting is the transaction's: one that is made for the session instead would outlive it, and this test sees it.
#[tokio::test]
async fn a_setting_of_the_session_would_be_seen_by_the_next_request() {
    let db = TestDb::new().await;
    let pool = ops::connect(db.options(ops::Role::Web), 1);
    let user = Uuid::now_v7();
    let mut txn = pool.begin().await.unwrap();
    let for_the_session = format!("select set_config('ops.user_id', '{user}', false)");
    txn.execute(for_the_session.as_str()).await.unwrap();
    txn.commit().await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    assert_eq!(asks(&mut conn).await, Some(user));
}
