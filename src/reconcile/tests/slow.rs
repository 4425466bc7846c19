//! What takes long holds up nothing that must not wait.

use super::{NOTHING, PATIENCE, Yard};
use crate::{
    branch::Stage, docker::ContainerStatus, id::RunId, postgres::testing_tenants::TestTenants,
    reconcile::keep_reconciling,
};
use sqlx::Connection;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

impl Yard {
    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !is_so().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
    }

    /// A run whose worker was killed.
    async fn lose(&self, run: RunId) {
        sqlx::query!(
            "update ops.runs set lease_expires_at = now() - interval '1 minute' where id = $1",
            run.0
        )
        .execute(&mut self.superuser().await)
        .await
        .unwrap();
    }

    async fn status(&self, run: RunId) -> String {
        let status = sqlx::query_scalar!("select status from ops.runs where id = $1", run.0);
        status.fetch_one(&mut self.superuser().await).await.unwrap()
    }
}

#[tokio::test]
async fn docker_a_removal_that_takes_long_holds_up_neither_lost_runs_nor_servers() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let (going, server) = (yard.running(Stage::Development).await, yard.running(Stage::Development).await);
    let lost = yard.run("running").await;
    let container =
        sqlx::query_scalar!(r#"select container_id as "id!" from ops.environments where id = $1"#, server.0);
    let container = container.fetch_one(&mut yard.superuser().await).await.unwrap();
    sqlx::query!("update ops.environments set state = 'destroying' where id = $1", going.0)
        .execute(&mut yard.superuser().await)
        .await
        .unwrap();
    // The removal cannot come to its end: its last write waits for this row.
    let mut holder = yard.superuser().await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query!("select id from ops.environments where id = $1 for update", going.0)
        .fetch_one(&mut *held)
        .await
        .unwrap();

    let stop = CancellationToken::new();
    let kept = tokio::spawn(keep_reconciling(yard.shop.clone(), yard.collectors.clone(), stop.clone()));
    let mut conn = yard.superuser().await;
    yard.until("the removal comes to its last write", async || {
        let waiting = sqlx::query_scalar!(
            r#"select exists (
                   select from pg_catalog.pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock' and query like '%ops.environments%'
               ) as "waits!""#
        );
        waiting.fetch_one(&mut conn).await.unwrap()
    })
    .await;
    yard.lose(lost).await;
    yard.shop.docker.kill_container(&container).await.unwrap();
    yard.until("the lost run goes back", async || yard.status(lost).await == "queued").await;
    yard.until("the server is started again", async || {
        let found = yard.shop.docker.container(&container).await.unwrap();
        found.is_some_and(|it| it.status == ContainerStatus::Running)
    })
    .await;
    assert_eq!(yard.state(going).await, "destroying", "all that while");

    held.rollback().await.unwrap();
    yard.until("the removal ends", async || yard.state(going).await == "destroyed").await;
    assert_eq!(yard.there(going).await, NOTHING);
    stop.cancel();
    kept.await.unwrap();
    yard.finish().await;
}
