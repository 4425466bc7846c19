//! Servers that should run do.

use super::{ALL, PATIENCE, Yard};
use crate::{
    branch::Stage,
    docker::{ContainerStatus, names},
    id::EnvironmentId,
    postgres::testing_tenants::TestTenants,
    reconcile::keep_reconciling,
};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

impl Yard {
    async fn container(&self, environment: EnvironmentId) -> String {
        let id = sqlx::query_scalar!(
            r#"select container_id as "id!" from ops.environments where id = $1"#,
            environment.0
        );
        id.fetch_one(&mut self.superuser().await).await.unwrap()
    }

    async fn runs(&self, container: &str) -> bool {
        let found = self.shop.docker.container(container).await.unwrap();
        found.is_some_and(|it| it.status == ContainerStatus::Running)
    }
}

#[tokio::test]
async fn docker_a_died_server_is_started_within_the_moment() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let environment = yard.running(Stage::Development).await;
    let container = yard.container(environment).await;
    let stop = CancellationToken::new();
    let kept = keep_reconciling(yard.shop.clone(), yard.collectors.clone(), stop.clone());
    let kept = tokio::spawn(kept);
    let report = async {
        while yard.reports().await.len() < 15 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, report).await.expect("a first round");
    for _ in 0..3 {
        yard.shop.docker.kill_container(&container).await.unwrap();
        let begun = tokio::time::Instant::now();
        let back = async {
            while !yard.runs(&container).await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        // Ten times the second that it may take; the next look at everything would come after thirty.
        timeout(Duration::from_secs(10), back).await.expect("it runs again");
        println!("started after {:?}", begun.elapsed());
    }
    assert_eq!(yard.container(environment).await, container, "the same container");
    stop.cancel();
    kept.await.unwrap();
    yard.finish().await;
}

#[tokio::test]
async fn docker_a_stopped_server_is_started_and_never_made_again_for_it() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let (one, two) = (yard.running(Stage::Development).await, yard.running(Stage::Staging).await);
    let (first, second) = (yard.container(one).await, yard.container(two).await);
    let docker = &yard.shop.docker;
    docker.stop_container(&first, Duration::ZERO).await.unwrap();
    // Its network is gone: as it is, it cannot be started; the image has no Odoo, so that what is made cannot run.
    docker.stop_container(&second, Duration::ZERO).await.unwrap();
    docker.remove_network(&names::environment_network(two)).await.unwrap();
    // Before the epochs agree, a container may be started, but none is made.
    let file = yard.shop.config.installation_file();
    std::fs::write(&file, format!("{}\n99\n", docker.installation())).unwrap();
    sqlx::query!("update ops.environments set container_id = 'gone' where id = $1", two.0)
        .execute(&mut yard.superuser().await)
        .await
        .unwrap();
    yard.round().await;
    assert!(yard.runs(&first).await);
    assert_eq!((yard.container(one).await, yard.there(one).await), (first.clone(), ALL));
    let report = yard.report("servers").await;
    assert_eq!((report.acted, report.would), (1, 1), "{report:#?}");
    assert!(docker.container(&second).await.unwrap().is_some());
    yard.finish().await;
}
