//! What people ask of the reconcilers, and what a joined host may say.

use super::{ALL, NOTHING, PATIENCE, Yard};
use crate::{
    branch::Stage,
    id::HostId,
    postgres::testing_tenants::TestTenants,
    reconcile::{Mode, keep_reconciling, service},
};
use sqlx::Executor;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn docker_who_asks_what_would_be_done_is_told_before_it_is_done() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let (running, orphan) =
        (yard.running(Stage::Development).await, yard.ownerless(Stage::Development).await);
    let (actor, mut txn) = yard.admin().await;
    let ids = service::request_dry_run_in_txn(&mut txn, &actor, None).await.unwrap();
    txn.commit().await.unwrap();
    let (_, mut txn) = yard.admin().await;
    let asked = service::dry_runs(&mut txn, &actor, &ids).await.unwrap();
    assert!(asked.len() == 1 && asked[0].answered_at.is_none() && asked[0].reports.is_empty(), "{asked:?}");
    drop(txn);

    let stop = CancellationToken::new();
    let kept = tokio::spawn(keep_reconciling(yard.shop.clone(), yard.collectors.clone(), stop.clone()));
    let gone = async {
        while yard.there(orphan).await != NOTHING {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the host acts after it answered");
    stop.cancel();
    kept.await.unwrap();

    let (_, mut txn) = yard.admin().await;
    let told = service::dry_runs(&mut txn, &actor, &ids).await.unwrap().remove(0);
    drop(txn);
    assert!(told.answered_at.is_some());
    assert_eq!(told.reports.len(), 15);
    for report in &told.reports {
        assert_eq!((report.mode, report.acted, &report.error), (Mode::Report, 0, &None), "{report:#?}");
    }
    let would = |name: &str| told.reports.iter().find(|it| it.name == name).unwrap().would;
    assert_eq!(
        ["containers", "networks", "databases", "directories", "log_collectors", "servers"].map(would),
        [1, 1, 1, 1, 1, 0]
    );
    assert_eq!(yard.there(running).await, ALL);
    // A second answer is refused: what was said stays.
    let again = sqlx::query!("select ops.answer_dry_run($1, '[]')", ids[0].0).fetch_one(yard.pool()).await;
    assert_eq!(again.unwrap_err().as_database_error().unwrap().code().unwrap(), "P0002");
    let unknown = HostId::new();
    let (_, mut txn) = yard.admin().await;
    let refused = service::request_dry_run_in_txn(&mut txn, &actor, Some(unknown)).await.unwrap_err();
    assert_eq!(refused.status(), 404);
    yard.finish().await;
}

#[tokio::test]
async fn docker_a_joined_host_speaks_for_itself_only() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let mut conn = yard.superuser().await;
    let far = HostId::new();
    let role = format!("ops_host_{}", far.0.simple());
    sqlx::query!("insert into ops.hosts (id, name, db_role) values ($1, 'far', $2)", far.0, role)
        .execute(&mut conn)
        .await
        .unwrap();
    conn.execute(format!("create role {role} login in role ops_worker").as_str()).await.unwrap();
    conn.execute(format!("set session authorization {role}").as_str()).await.unwrap();
    let installation = yard.shop.docker.installation().0;
    for (host, may) in [(far, true), (yard.host, false)] {
        let report = sqlx::query!(
            "select ops.report_reconciler($1, 'containers', now(), 0, 0, 0, 'act', null, null, '[]')",
            host.0
        );
        let reported = report.fetch_one(&mut conn).await.map(drop);
        let advance =
            sqlx::query!("select standing from ops.compare_epoch($1, $2, 0, true)", host.0, installation);
        let advanced = advance.fetch_one(&mut conn).await.map(drop);
        let aside = sqlx::query!(
            "select ops.quarantine_object($1, 'database', 'q', 'e', null, true, 'x', null, interval '7 days')",
            host.0
        );
        let listed = aside.fetch_one(&mut conn).await.map(drop);
        for outcome in [reported, advanced, listed] {
            match outcome {
                Ok(()) => assert!(may, "{host}"),
                Err(error) => {
                    let code = error.as_database_error().unwrap().code().unwrap().into_owned();
                    assert_eq!((may, code.as_str()), (false, "42501"), "{error}");
                }
            }
        }
    }
    conn.execute("reset session authorization").await.unwrap();
    conn.execute(format!("drop role {role}").as_str()).await.unwrap();
    yard.finish().await;
}
