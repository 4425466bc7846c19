//! Everything killed at once, while Odoo is being built.

use crate::{belongings::Belongings, installation::Installation};
use nix::sys::signal::Signal;
use odooops::{
    docker::{ContainerStatus, Docker},
    id::EnvironmentId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// Three builds, their templates, and what two kills cost, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(400);
const LOOK: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odoo_everything_killed_during_builds_loses_no_run_and_leaves_nothing_behind() {
    let mut installation = Installation::start().await;
    let docker = installation.docker().await.unwrap();
    // The demo project's builds: first in the middle of making a template, then in the middle of an installation.
    for purpose in ["-template-", "-install-"] {
        until_runs(&docker, purpose).await;
        installation.kill_tree().await;
        installation.start_again().await;
    }

    let running = until_all_ended(&installation).await;
    assert!(attempts(&installation).await > 3, "nothing was interrupted");
    settled(&installation, &docker, &running).await;
    installation.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odoo_two_installations_on_one_docker_leave_each_other_alone() {
    let (one, two) = tokio::join!(Installation::start(), Installation::start());
    let (one_docker, two_docker) = (one.docker().await.unwrap(), two.docker().await.unwrap());
    let (mut of_one, of_two) = tokio::join!(until_all_ended(&one), until_all_ended(&two));
    settled(&one, &one_docker, &of_one).await;
    settled(&two, &two_docker, &of_two).await;
    // One of them cleans up, and is started anew, which looks at everything there is.
    let (gone, _) = of_one.pop_first().unwrap();
    sqlx::query!("update ops.environments set state = 'destroying' where id = $1", gone.0)
        .execute(&mut one.superuser().await.unwrap())
        .await
        .unwrap();
    one.kill("work", Signal::SIGTERM).await;
    settled(&one, &one_docker, &of_one).await;
    settled(&two, &two_docker, &of_two).await;
    tokio::join!(one.stop(), two.stop());
}

/// Waits until there is what these environments consist of and nothing else, and each shows its login page.
async fn settled(installation: &Installation, docker: &Docker, running: &BTreeMap<EnvironmentId, String>) {
    let ids: BTreeSet<EnvironmentId> = running.keys().copied().collect();
    let wanted = Belongings::of(&ids);
    let waiting = async {
        while Belongings::found(installation, docker).await != wanted {
            sleep(LOOK).await;
        }
    };
    if timeout(PATIENCE, waiting).await.is_err() {
        assert_eq!(
            Belongings::found(installation, docker).await,
            wanted,
            "something is missing, or was left behind"
        );
    }
    assert_eq!(docker.containers().await.unwrap().len(), running.len(), "one container each");
    for hostname in running.values() {
        installation.until(&format!("{hostname}.{}", installation.base_domain), "/web/login", 200).await;
    }
}

/// All claims of all runs.
async fn attempts(installation: &Installation) -> i64 {
    let attempts = sqlx::query_scalar!(r#"select sum(attempt) as "sum!" from ops.runs"#);
    attempts.fetch_one(&mut installation.superuser().await.unwrap()).await.unwrap()
}

async fn until_runs(docker: &Docker, purpose: &str) {
    let looking = async {
        loop {
            let containers = docker.containers().await.unwrap();
            if containers.iter().any(|c| c.status == ContainerStatus::Running && c.name.contains(purpose)) {
                return;
            }
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("no container {purpose} runs"));
}

/// Waits until no run is under way; the environments that run, with their hostnames. No run may have failed: two
/// kills are fewer than the attempts that a run has, and the demo project is green.
async fn until_all_ended(installation: &Installation) -> BTreeMap<EnvironmentId, String> {
    let mut conn = installation.superuser().await.unwrap();
    let ending = async {
        loop {
            let open = sqlx::query_scalar!(
                r#"select count(*) as "count!" from ops.runs where status in ('queued', 'claimed', 'running')"#
            );
            if open.fetch_one(&mut conn).await.unwrap() == 0 {
                return;
            }
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, ending).await.expect("the runs end");
    let runs = sqlx::query!("select status, error_message from ops.runs").fetch_all(&mut conn).await;
    let runs = runs.unwrap();
    assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:?}");
    assert_eq!(runs.len(), 3, "one run for each branch of the demo: {runs:?}");
    let environments = sqlx::query!(
        "select e.id, e.hostname from ops.environments e join ops.branches b on b.id = e.branch_id
         where e.state not in ('failed', 'destroyed')"
    );
    let environments = environments.fetch_all(&mut conn).await.unwrap();
    assert_eq!(environments.len(), 3, "each branch has its environment");
    environments.into_iter().map(|row| (row.id.into(), row.hostname)).collect()
}
