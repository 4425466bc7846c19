//! Routes, expiry and silent workers.

use super::{NOTHING, Yard};
use crate::{branch::Stage, id::EnvironmentId, postgres::testing_tenants::TestTenants};

impl Yard {
    async fn address(&self, environment: EnvironmentId) -> Option<String> {
        let address =
            sqlx::query_scalar!("select address from ops.environments where id = $1", environment.0);
        address.fetch_one(&mut self.superuser().await).await.unwrap()
    }
}

#[tokio::test]
async fn docker_nobody_is_sent_to_somebody_elses_server() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let (one, failed) = (yard.running(Stage::Development).await, EnvironmentId::new());
    let address = yard.address(one).await.unwrap();
    // Its server ended long ago, and its address was given to another.
    let stale = EnvironmentId::new();
    for (id, state) in [(failed, "failed"), (stale, "running")] {
        let run = yard.run("succeeded").await;
        yard.row(id, run, state, Stage::Development).await;
        sqlx::query!("update ops.environments set address = $2, port = 8069 where id = $1", id.0, address)
            .execute(&mut yard.superuser().await)
            .await
            .unwrap();
    }
    yard.round().await;
    assert_eq!(yard.address(one).await, Some(address));
    assert_eq!((yard.address(failed).await, yard.address(stale).await), (None, None));
    let report = yard.report("hostnames").await;
    assert_eq!((report.acted, report.error), (2, None));
    // Docker gave it another address: the route follows.
    sqlx::query!("update ops.environments set address = '10.0.0.9' where id = $1", one.0)
        .execute(&mut yard.superuser().await)
        .await
        .unwrap();
    yard.round().await;
    assert_ne!(yard.address(one).await.as_deref(), Some("10.0.0.9"));
    yard.quiet_round().await;
    yard.finish().await;
}

#[tokio::test]
async fn docker_what_is_over_goes_but_production_and_silent_workers_runs_go_back() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let mut conn = yard.superuser().await;
    let (over, production, later) = (
        yard.running(Stage::Development).await,
        yard.running(Stage::Production).await,
        yard.running(Stage::Staging).await,
    );
    sqlx::query!(
        "update ops.environments set expires_at = now() + case when id = $1 then interval '1 hour' else '-1 hour' end",
        later.0
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let silent = yard.run("running").await;
    let alive = yard.run("running").await;
    sqlx::query!(
        "update ops.runs set lease_expires_at = now() - interval '1 second' where id = $1",
        silent.0
    )
    .execute(&mut conn)
    .await
    .unwrap();
    // Artifacts: on this disk, on another's, in a store; and one whose time is not over.
    let folder = yard.shop.config.artifacts_dir();
    std::fs::create_dir_all(&folder).unwrap();
    let outside = yard.data.path().join("outside");
    for path in [folder.join("old"), folder.join("new"), outside.clone()] {
        std::fs::write(path, b"x").unwrap();
    }
    for (key, url, hours) in [
        ("old", format!("file://{}", folder.join("old").display()), -1),
        ("new", format!("file://{}", folder.join("new").display()), 1),
        ("outside", format!("file://{}", outside.display()), -1),
        ("store", "s3://bucket/key".to_owned(), -1),
    ] {
        sqlx::query!(
            "insert into ops.run_artifacts (run_id, artifact_key, s3_url, checksum, content_type, size_bytes, expires_at)
             values ($1, $2, $3, 'x', 'text/plain', 1, now() + make_interval(hours => $4))",
            alive.0,
            key,
            url,
            hours
        )
        .execute(&mut conn)
        .await
        .unwrap();
    }
    yard.round().await;
    assert_eq!((yard.state(over).await.as_str(), yard.there(over).await), ("destroyed", NOTHING));
    assert_eq!((yard.state(production).await, yard.state(later).await), ("running".into(), "running".into()));
    let statuses = sqlx::query_scalar!(
        "select status from ops.runs where id = any ($1) order by id = $2",
        &[silent.0, alive.0],
        alive.0
    );
    assert_eq!(statuses.fetch_all(&mut conn).await.unwrap(), ["queued", "running"]);
    let left = sqlx::query_scalar!("select artifact_key from ops.run_artifacts order by 1");
    assert_eq!(left.fetch_all(&mut conn).await.unwrap(), ["new", "outside"]);
    assert!(!folder.join("old").exists() && folder.join("new").exists() && outside.exists());
    yard.quiet_round().await;
    yard.finish().await;
}
