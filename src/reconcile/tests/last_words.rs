//! What a container printed and nobody had read is stored before the container is removed, whoever removes it.

use super::{PATIENCE, Yard};
use crate::{
    branch::Stage,
    docker::{ContainerSpec, ContainerStatus, Labels, LogRotation, names, testing::BUSYBOX},
    environment::{self, query::Environment},
    id::{EnvironmentId, RunId},
    postgres::testing_tenants::TestTenants,
    run::job::remove::{self, Patience},
};
use futures::StreamExt;
use sqlx::Executor;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const LAST: usize = 20_000;

impl Yard {
    /// A container that an attempt left behind: it has printed its lines, which end with the last number, and runs.
    async fn talker(&self, environment: EnvironmentId, run: RunId) -> String {
        let labels = Labels::environment(run, environment);
        let mut spec = ContainerSpec::new(names::container(environment, "install-1"), BUSYBOX, labels);
        let script = format!("/bin/busybox seq 1 {LAST}; while :; do /bin/busybox sleep 1; done");
        spec.entrypoint = ["/bin/busybox", "sh", "-c", &script].map(str::to_owned).to_vec();
        spec.limits.memory_bytes = 64 * 1024 * 1024;
        spec.logs = LogRotation::Build { output_limit: 1 << 20 };
        let id = self.shop.docker.create_container(&spec).await.unwrap();
        self.shop.docker.start_container(&id).await.unwrap();
        let printed = async {
            let mut frames = self.shop.docker.output(&id, 0, true).await.unwrap();
            while let Some(frame) = frames.next().await {
                let text = String::from_utf8_lossy(&frame.unwrap().payload).into_owned();
                if text.trim_end().ends_with(&format!(" {LAST}")) {
                    return;
                }
            }
            panic!("it ended");
        };
        timeout(PATIENCE, printed).await.expect("it prints");
        id
    }

    /// Of a run that ended, in a building environment.
    async fn left_behind(&self) -> (Environment, RunId, String) {
        let (id, run) = (EnvironmentId::new(), self.run("canceled").await);
        self.row(id, run, "building", Stage::Development).await;
        let container = self.talker(id, run).await;
        let environment = environment::query::by_run(&mut self.superuser().await, run).await.unwrap();
        (environment.unwrap(), run, container)
    }

    async fn printed(&self, run: RunId) -> Vec<String> {
        let rows = sqlx::query!(
            r#"select seq as "seq!", message as "message!" from ops.run_logs
               where run_id = $1 and stream = 'install' order by seq"#,
            run.0
        );
        let rows = rows.fetch_all(&mut self.superuser().await).await.unwrap();
        assert!(rows.iter().zip(1..).all(|(row, seq)| row.seq == seq), "a gap in the sequence");
        rows.into_iter().map(|row| row.message).collect()
    }

    async fn is_gone(&self, container: &str) -> bool {
        self.shop.docker.container(container).await.unwrap().is_none()
    }
}

fn all() -> Vec<String> {
    (1..=LAST).map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn docker_an_abandoned_attempts_lines_are_stored_before_its_container_goes() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    // One that nobody ever read, and one whose collector died in the middle.
    let (unread, unread_run, unread_container) = yard.left_behind().await;
    let (begun, begun_run, begun_container) = yard.left_behind().await;
    let mut lines = 0;
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let collecting = yard.collectors.collect(begun_run, &begun_container, "install", |_| {
        lines += 1;
        if lines == 100 {
            _ = tell.take().unwrap().send(());
        }
    });
    tokio::select! {
        ended = collecting => panic!("{ended:?}"),
        told = told => told.unwrap(),
    }
    yard.round().await;
    for (environment, run, container) in
        [(unread, unread_run, unread_container), (begun, begun_run, begun_container)]
    {
        assert_eq!(yard.state(environment.id).await, "failed");
        assert!(yard.is_gone(&container).await);
        assert!(yard.printed(run).await == all(), "{} lines", yard.printed(run).await.len());
    }
    yard.finish().await;
}

/// A run that is tried again elsewhere leaves a container here that nobody owns.
#[tokio::test]
async fn docker_a_container_whose_environment_is_elsewhere_is_read_to_its_end() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let (environment, run, container) = yard.left_behind().await;
    sqlx::query!(
        "with other as (insert into ops.hosts (name) values ('elsewhere') returning id)
         update ops.environments set host_id = other.id, state = 'running' from other where environments.id = $1",
        environment.id.0
    )
    .execute(&mut yard.superuser().await)
    .await
    .unwrap();
    yard.round().await;
    assert!(yard.is_gone(&container).await);
    assert!(yard.printed(run).await == all());
    let report = yard.report("containers").await;
    assert_eq!((report.acted, &report.error), (1, &None), "{report:#?}");
    yard.finish().await;
}

/// A person who cancels is not kept waiting by what cannot be stored just now, and loses none of it.
#[tokio::test]
async fn docker_who_cancels_waits_for_no_log_and_loses_no_line() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let (environment, run, container) = yard.left_behind().await;
    let mut held = yard.superuser().await;
    held.execute("begin; lock table ops.log_sources in exclusive mode").await.unwrap();
    let begun = Instant::now();
    remove::what_runs(&yard.shop, &yard.collectors, &environment, Patience::Person).await.unwrap();
    // Ten times what it may take.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // It does nothing any more, and what it printed is still there.
    let stopped = yard.shop.docker.container(&container).await.unwrap().expect("it is still there");
    assert_eq!(stopped.status, ContainerStatus::Exited);
    assert!(yard.collectors.is_reading(&container) && yard.printed(run).await.is_empty());
    held.execute("rollback").await.unwrap();
    // Told when it is read, as the worker's loop is.
    timeout(PATIENCE, yard.shop.changed.notified()).await.expect("somebody is told");
    assert!(yard.printed(run).await == all());
    yard.round().await;
    assert!(yard.is_gone(&container).await);
    assert_eq!(yard.state(environment.id).await, "failed");
    assert!(yard.printed(run).await == all(), "and none of it twice");
    yard.finish().await;
}
