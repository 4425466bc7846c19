//! What nothing owns is removed, and nothing else is.

use super::{ALL, NOTHING, PATIENCE, There, Yard, sleeper};
use crate::{
    branch::Stage,
    docker::{Labels, names},
    id::{EnvironmentId, RunId},
    postgres::{TemplateName, quarantined_name, testing_tenants::TestTenants},
    reconcile::{QuarantineKind, query},
};

#[tokio::test]
async fn docker_what_nothing_owns_is_removed_and_nothing_else() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    // Another installation on the same Docker and the same cluster, with orphans of its own.
    let other = Yard::start(&tenants).await;
    let (theirs, their_orphan) = (other.running(Stage::Staging).await, other.ownerless(Stage::Staging).await);

    let running = yard.running(Stage::Development).await;
    let (destroyed, was_production) = (EnvironmentId::new(), EnvironmentId::new());
    for (id, stage) in [(destroyed, Stage::Staging), (was_production, Stage::Production)] {
        let run = yard.run("succeeded").await;
        yard.row(id, run, "destroyed", stage).await;
        yard.things(id, run, stage).await;
    }
    let (unknown, production) =
        (yard.ownerless(Stage::Development).await, yard.ownerless(Stage::Production).await);

    // Containers and networks that belong to a run alone: one is under way, one is not.
    let docker = &yard.shop.docker;
    let (active, ended) = (yard.run("running").await, yard.run("failed").await);
    for run in [active, ended] {
        let labels = Labels::run(run);
        docker.ensure_network(&names::build_network(run), labels).await.unwrap();
        let mut spec = sleeper(EnvironmentId::new(), labels, None);
        spec.name = names::template(run, 1);
        docker.create_container(&spec).await.unwrap();
    }
    // Templates: of the image, of an image that was, and a directory whose template is gone.
    let wanted = yard.template().await;
    let old: TemplateName = "plain_000000000000_000000000000".parse().unwrap();
    yard.shop.tenants.create_template(&old).await.unwrap().unwrap().finish().await.unwrap();
    let templates = yard.shop.config.templates_dir();
    for folder in [templates.join(wanted.to_string()), templates.join("demo_gone"), templates.join("No-Name")]
    {
        std::fs::create_dir_all(folder).unwrap();
    }
    let notes = yard.shop.config.environments_dir().join("notes");
    std::fs::create_dir(&notes).unwrap();

    yard.round().await;
    for report in yard.reports().await {
        assert_eq!((&report.error, report.would), (&None, 0), "{report:#?}");
    }
    assert_eq!(yard.there(running).await, ALL);
    assert_eq!(yard.there(destroyed).await, NOTHING);
    assert_eq!(yard.there(was_production).await, NOTHING);
    assert_eq!(yard.there(unknown).await, NOTHING);
    assert_eq!(yard.there(production).await, NOTHING);
    let left: Vec<_> =
        docker.containers().await.unwrap().into_iter().filter_map(|it| it.labels.run).collect();
    assert!(left.contains(&active) && !left.contains(&ended), "{left:?}");
    assert!(docker.network(&names::build_network(active)).await.unwrap().is_some());
    assert!(docker.network(&names::build_network(ended)).await.unwrap().is_none());
    assert_eq!(yard.shop.tenants.list_templates().await.unwrap(), std::slice::from_ref(&wanted));
    assert!(templates.join(wanted.to_string()).exists() && templates.join("No-Name").exists());
    assert!(!templates.join("demo_gone").exists() && notes.exists());

    // What ops knew went at once; what it did not know is kept, and production's, which has no end.
    let rows = query::quarantine(&mut yard.superuser().await, true).await.unwrap();
    assert_eq!(rows.len(), 6, "{rows:#?}");
    for row in &rows {
        let id = row.environment_id.unwrap();
        assert!([unknown, production, was_production].contains(&id));
        assert_eq!((row.production, row.delete_after.is_none()), (id != unknown, id != unknown));
        assert!(row.size_bytes.unwrap() > 0);
        if let Some(until) = row.delete_after {
            assert_eq!((until - row.quarantined_at).num_days(), 7);
        }
    }
    let aside = yard.shop.config.quarantine_dir().join(unknown.to_string());
    assert_eq!(std::fs::read(aside.join("data/attachment")).unwrap(), b"kept");
    let names: Vec<_> =
        rows.iter().filter(|it| it.kind == QuarantineKind::Database).map(|it| &it.name).collect();
    assert!(names.contains(&&quarantined_name(unknown)) && names.contains(&&quarantined_name(production)));
    assert_eq!(yard.shop.tenants.list_quarantined().await.unwrap().len(), 3);
    yard.quiet_round().await;

    assert_eq!(other.there(theirs).await, ALL);
    assert_eq!(other.there(their_orphan).await, ALL, "the other installation's orphans are its own");
    other.round().await;
    assert_eq!((other.there(theirs).await, other.there(their_orphan).await), (ALL, NOTHING));
    assert_eq!(yard.there(running).await, ALL);
    assert_eq!(yard.shop.tenants.list_quarantined().await.unwrap().len(), 3);
    other.finish().await;
    yard.finish().await;
}

#[tokio::test]
async fn docker_environments_end_and_those_of_other_hosts_are_not_touched() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let mut conn = yard.superuser().await;
    let (destroying, abandoned, building) =
        (yard.running(Stage::Development).await, EnvironmentId::new(), EnvironmentId::new());
    for (id, status) in [(abandoned, "failed"), (building, "running")] {
        let run = yard.run(status).await;
        yard.row(id, run, "building", Stage::Staging).await;
        yard.things(id, run, Stage::Staging).await;
    }
    let elsewhere = yard.running(Stage::Production).await;
    let host = sqlx::query_scalar!("insert into ops.hosts (name) values ('far') returning id");
    let far = host.fetch_one(&mut conn).await.unwrap();
    for (id, state) in [(destroying, "destroying"), (elsewhere, "running")] {
        sqlx::query!("update ops.environments set state = $2 where id = $1", id.0, state)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    // An environment of another host that is to go: that one's worker sees to it. What lies here of one that lives
    // elsewhere may be data that nobody has a copy of.
    let theirs = EnvironmentId::new();
    let run = yard.run("succeeded").await;
    yard.row(theirs, run, "destroying", Stage::Development).await;
    sqlx::query!(
        "update ops.environments set host_id = $1 where id = any ($2)",
        far,
        &[theirs.0, elsewhere.0]
    )
    .execute(&mut conn)
    .await
    .unwrap();
    yard.round().await;
    assert_eq!((yard.state(destroying).await.as_str(), yard.there(destroying).await), ("destroyed", NOTHING));
    assert_eq!((yard.state(abandoned).await.as_str(), yard.there(abandoned).await), ("failed", NOTHING));
    assert_eq!((yard.state(building).await.as_str(), yard.there(building).await), ("building", ALL));
    assert_eq!(yard.state(theirs).await, "destroying");
    assert_eq!((yard.state(elsewhere).await.as_str(), yard.there(elsewhere).await), ("running", NOTHING));
    let rows = query::quarantine(&mut conn, true).await.unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|it| it.environment_id == Some(elsewhere) && it.production));
    yard.quiet_round().await;
    yard.finish().await;
}

/// One that cannot be removed, one that cannot be looked at: the others go on.
#[tokio::test]
async fn docker_what_fails_holds_nothing_else_up() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let (stuck, free) = (yard.ownerless(Stage::Development).await, yard.ownerless(Stage::Development).await);
    // Its place in quarantine is taken.
    let mut superuser = sqlx::ConnectOptions::connect(&tenants.cluster.superuser_options()).await.unwrap();
    let taken = format!("create database {}", quarantined_name(stuck));
    sqlx::Executor::execute(&mut superuser, taken.as_str()).await.unwrap();
    yard.round().await;
    let report = yard.report("databases").await;
    assert_eq!((report.acted, report.findings.len()), (1, 2), "{report:#?}");
    assert!(report.error.unwrap().contains("already exists"));
    assert!(report.findings.iter().any(|it| !it.done && it.why.contains("it failed")));
    assert_eq!(yard.there(free).await, NOTHING);
    assert_eq!(yard.there(stuck).await, There { database: true, ..NOTHING });
    let freed = format!("drop database {}", quarantined_name(stuck));
    sqlx::Executor::execute(&mut superuser, freed.as_str()).await.unwrap();
    yard.round().await;
    assert_eq!(yard.there(stuck).await, NOTHING);

    // The whole cluster is away.
    drop(superuser);
    let last = yard.ownerless(Stage::Development).await;
    drop(tenants);
    tokio::time::timeout(PATIENCE, yard.round()).await.unwrap();
    assert!(yard.report("databases").await.error.is_some());
    assert!(!yard.there_in_docker(last).await, "containers and networks do not wait for databases");
    yard.finish().await;
}

impl Yard {
    async fn there_in_docker(&self, environment: EnvironmentId) -> bool {
        let of = |labels: Labels| labels.environment == Some(environment);
        let docker = &self.shop.docker;
        docker.containers().await.unwrap().iter().any(|it| of(it.labels))
            || docker.networks().await.unwrap().iter().any(|it| of(it.labels))
    }
}

/// Volumes cannot be renamed: they wait where they are.
#[tokio::test]
async fn docker_a_volume_without_an_owner_is_kept_for_a_while() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let running = yard.running(Stage::Development).await;
    let docker = &yard.shop.docker;
    let volume = async |environment| {
        let labels = Labels::environment(RunId::new(), environment);
        docker.create_volume_for_tests(&format!("odooops-test-{environment}"), labels).await
    };
    volume(running).await;
    volume(EnvironmentId::new()).await;
    yard.round().await;
    yard.quiet_round().await;
    assert_eq!(docker.volumes().await.unwrap().len(), 2);
    let mut conn = yard.superuser().await;
    let rows = query::quarantine(&mut conn, false).await.unwrap();
    assert!(rows.len() == 1 && rows[0].kind == QuarantineKind::Volume && rows[0].production, "{rows:#?}");
    sqlx::query!("update ops.quarantine set delete_requested_at = now()").execute(&mut conn).await.unwrap();
    yard.round().await;
    let left = docker.volumes().await.unwrap();
    assert!(left.len() == 1 && left[0].labels.environment == Some(running), "{left:?}");
    yard.quiet_round().await;
    yard.finish().await;
}
