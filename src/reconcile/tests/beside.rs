//! Two hosts of one installation that use the same Docker daemon.

use super::{ALL, NOTHING, PATIENCE, Yard};
use crate::{
    branch::Stage,
    docker::{Docker, DockerConfig, Labels, SubnetPool, names},
    id::{EnvironmentId, HostId, RunId},
    postgres::testing_tenants::TestTenants,
    run::job::{Stop, work},
};

#[tokio::test]
async fn docker_hosts_on_one_daemon_leave_each_other_alone() {
    let (tenants, others) = (TestTenants::start().await, TestTenants::start().await);
    let yard = Yard::start(&tenants).await;
    let beside = yard.beside(&others).await;
    let (here, there) = (yard.running(Stage::Production).await, beside.running(Stage::Production).await);
    let (orphan, their_orphan) =
        (yard.ownerless(Stage::Development).await, beside.ownerless(Stage::Development).await);
    let volume = format!("odooops-test-{their_orphan}");
    let docker = &beside.shop.docker;
    docker.create_volume_for_tests(&volume, Labels::environment(RunId::new(), their_orphan)).await;
    yard.round().await;
    assert_eq!((yard.there(here).await, yard.there(orphan).await), (ALL, NOTHING));
    assert_eq!((beside.there(there).await, beside.there(their_orphan).await), (ALL, ALL));
    yard.quiet_round().await;
    beside.round().await;
    assert_eq!((beside.there(there).await, beside.there(their_orphan).await), (ALL, NOTHING));
    assert_eq!(yard.there(here).await, ALL);
    let of_volumes = sqlx::query_scalar!("select host_id from ops.quarantine where kind = 'volume'");
    assert_eq!(of_volumes.fetch_all(&mut yard.superuser().await).await.unwrap(), [beside.host.0]);
    beside.quiet_round().await;
    // Each still takes away its own.
    for id in [here, there] {
        sqlx::query!("update ops.environments set state = 'destroying' where id = $1", id.0)
            .execute(&mut yard.superuser().await)
            .await
            .unwrap();
    }
    yard.round().await;
    assert_eq!((yard.there(here).await, beside.there(there).await), (NOTHING, ALL));
    beside.round().await;
    assert_eq!(beside.there(there).await, NOTHING);
    beside.finish().await;
    yard.finish().await;
}

/// What says no host is of the time when there was the console's machine only; what a forgotten host made is seen to by
/// whose daemon it is on.
#[tokio::test]
async fn docker_what_no_known_host_made_is_seen_to_by_one() {
    let (tenants, others) = (TestTenants::start().await, TestTenants::start().await);
    let yard = Yard::start(&tenants).await;
    let beside = yard.beside(&others).await;
    let connect = async || {
        let config = DockerConfig {
            socket: "/var/run/docker.sock".into(),
            installation: yard.shop.docker.installation(),
            mount_roots: Vec::new(),
            subnets: SubnetPool::default(),
        };
        Docker::connect(config).await.unwrap()
    };
    let (old, forgotten) = (EnvironmentId::new(), EnvironmentId::new());
    let network = async |docker: Docker, environment| {
        let labels = Labels::environment(RunId::new(), environment);
        docker.ensure_network(&names::environment_network(environment), labels).await.unwrap();
    };
    network(connect().await, old).await;
    let docker = connect().await;
    docker.make_for(HostId::new());
    network(docker, forgotten).await;
    beside.round().await;
    assert!(yard.there(old).await.network && !yard.there(forgotten).await.network);
    yard.round().await;
    assert!(!yard.there(old).await.network);
    beside.finish().await;
    yard.finish().await;
}

#[tokio::test]
async fn docker_a_worker_that_was_forgotten_ends() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let working = tokio::spawn(work(yard.shop.clone(), Stop::new()));
    let registered = async {
        let there = "yard";
        loop {
            let count = sqlx::query_scalar!(
                r#"select count(*) as "count!" from ops.worker_heartbeats where worker_id = $1"#,
                there
            );
            if count.fetch_one(&mut yard.superuser().await).await.unwrap() > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, registered).await.expect("it registers");
    sqlx::query!("delete from ops.workers").execute(&mut yard.superuser().await).await.unwrap();
    tokio::time::timeout(PATIENCE, working).await.expect("it ends").unwrap().unwrap();
    yard.finish().await;
}
