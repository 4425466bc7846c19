//! Each running environment has one collector; what ended has none.

use super::{PATIENCE, Yard};
use crate::{branch::Stage, docker::ContainerStatus, postgres::testing_tenants::TestTenants};
use std::time::Duration;
use tokio::time::{sleep, timeout};

impl Yard {
    async fn sources(&self) -> Vec<(String, bool)> {
        let rows = sqlx::query!("select container_id, ended_at from ops.log_sources order by created_at, id");
        let rows = rows.fetch_all(&mut self.superuser().await).await.unwrap();
        rows.into_iter().map(|row| (row.container_id, row.ended_at.is_some())).collect()
    }

    async fn lines(&self) -> i64 {
        let lines =
            sqlx::query_scalar!(r#"select count(*) as "count!" from ops.run_logs where message = 'started'"#);
        lines.fetch_one(&mut self.superuser().await).await.unwrap()
    }
}

#[tokio::test]
async fn docker_running_environments_have_one_collector_each() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    yard.running(Stage::Development).await;
    yard.running(Stage::Staging).await;
    // Of a container that nobody has seen for long.
    let run = yard.run("succeeded").await;
    sqlx::query!("select source_id from ops.open_log_source($1, 'gone', 'odoo', 'yard')", run.0)
        .fetch_one(yard.pool())
        .await
        .unwrap();
    // Another host's is its own business.
    sqlx::query!("select source_id from ops.open_log_source($1, 'far', 'odoo', 'other')", run.0)
        .fetch_one(yard.pool())
        .await
        .unwrap();
    yard.round().await;
    assert_eq!(yard.collectors.followed().len(), 2);
    let report = yard.report("log_collectors").await;
    assert_eq!((report.acted, &report.error), (3, &None), "{report:#?}");
    let all = async {
        while yard.lines().await < 2 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("what both printed is stored");
    yard.quiet_round().await;
    let sources = yard.sources().await;
    assert_eq!(sources.len(), 4, "{sources:?}");
    assert_eq!(sources.iter().filter(|(_, ended)| *ended).count(), 1, "{sources:?}");
    assert!(sources.contains(&("gone".to_owned(), true)) && sources.contains(&("far".to_owned(), false)));

    // A second process of the same host takes over, and the first lets go instead of taking it back.
    let second = crate::run::job::collect::Collectors::new(yard.shop.clone());
    for container in yard.collectors.followed() {
        assert!(second.follow(run, &container));
    }
    let released = async {
        loop {
            for container in yard.shop.docker.containers().await.unwrap() {
                if container.status == ContainerStatus::Running {
                    // A line more, by which the first finds out.
                    yard.shop.docker.say_for_tests(&container.id).await;
                }
            }
            if yard.collectors.followed().is_empty() {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PATIENCE, released).await.expect("the first lets go");
    assert_eq!(second.followed().len(), 2);
    second.stop().await;
    yard.finish().await;
}
