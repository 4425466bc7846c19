//! Images that nobody used for a while.

use super::Yard;
use crate::{
    branch::Stage,
    docker::{names, testing::BUSYBOX},
    id::EnvironmentId,
    postgres::testing_tenants::TestTenants,
};

#[tokio::test]
async fn docker_unused_layers_of_this_installation_go_and_no_other_images() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let other = Yard::start(&tenants).await;
    let docker = &yard.shop.docker;
    let tag = |name: &str| names::layer(&format!("{name}-{}", docker.installation()));
    let (old, recent, used, lately, held) =
        (tag("old"), tag("recent"), tag("used"), tag("lately"), tag("held"));
    for name in [&old, &used, &lately, &held] {
        docker.import_for_tests(name, "2020-01-01T00:00:00Z").await;
    }
    docker.import_for_tests(&recent, "2200-01-01T00:00:00Z").await;
    let theirs = names::layer(&format!("theirs-{}", other.shop.docker.installation()));
    other.shop.docker.import_for_tests(&theirs, "2020-01-01T00:00:00Z").await;
    for (image, state, days) in [(&used, "running", 0), (&lately, "destroyed", 10), (&old, "destroyed", 20)] {
        let (id, run) = (EnvironmentId::new(), yard.run("succeeded").await);
        yard.row(id, run, state, Stage::Development).await;
        sqlx::query!(
            "update ops.environments set image = $2, created_at = now() - interval '100 days',
                 destroyed_at = case when state = 'destroyed' then now() - make_interval(days => $3) end
             where id = $1",
            id.0,
            image,
            days
        )
        .execute(&mut yard.superuser().await)
        .await
        .unwrap();
    }
    // Of another installation, from the image that this one built.
    let mut spec =
        super::sleeper(EnvironmentId::new(), crate::docker::Labels::run(crate::id::RunId::new()), None);
    spec.image = held.clone();
    other.shop.docker.create_container(&spec).await.unwrap();

    yard.round().await;
    let left = async |names: &[&String]| {
        let mut left = Vec::new();
        for name in names {
            left.push(docker.image_exists(name).await.unwrap());
        }
        left
    };
    assert_eq!(left(&[&old, &recent, &used, &lately, &held]).await, [false, true, true, true, true]);
    assert!(docker.image_exists(BUSYBOX).await.unwrap() && docker.image_exists(&theirs).await.unwrap());
    let report = yard.report("images").await;
    assert_eq!((report.acted, report.looked_at), (1, 5), "{report:#?}");
    assert!(report.error.unwrap().contains("in use"));
    other.finish().await;
    yard.round().await;
    assert_eq!(left(&[&held]).await, [false]);
    yard.quiet_round().await;
    yard.finish().await;
}
