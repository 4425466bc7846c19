//! The two copies of the epoch: what a crash leaves between them is harmless, what a restore leaves is not.

use super::{ALL, NOTHING, Yard};
use crate::{
    branch::Stage,
    id::InstallationId,
    postgres::testing_tenants::TestTenants,
    reconcile::{Mode, Standing, epoch, epoch::OnDisk},
};
use std::{fs, path::PathBuf};

impl Yard {
    fn file(&self) -> PathBuf {
        self.shop.config.installation_file()
    }

    fn on_disk(&self) -> OnDisk {
        OnDisk::read(&self.file()).unwrap().unwrap()
    }

    async fn epoch(&self) -> i64 {
        let epoch = sqlx::query_scalar!("select epoch from ops.hosts where id = $1", self.host.0);
        epoch.fetch_one(&mut self.superuser().await).await.unwrap()
    }

    async fn standing(&self) -> Standing {
        epoch::stand(&self.shop, self.host).await.unwrap().standing
    }
}

#[tokio::test]
async fn docker_a_crash_between_the_two_copies_is_harmless() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    // A directory of a program that knew no epochs.
    let installation = yard.shop.docker.installation();
    fs::write(yard.file(), format!("{installation}\n")).unwrap();
    assert_eq!(yard.standing().await, Standing::Agrees);
    assert_eq!(yard.on_disk(), OnDisk { installation, epoch: Some(0) });
    for expected in 1..=3 {
        // The database is ahead, the file was not written: killed in between.
        let before = yard.on_disk().epoch;
        sqlx::query!(
            "select standing from ops.compare_epoch($1, $2, $3, true)",
            yard.host.0,
            installation.0,
            before
        )
        .fetch_one(yard.pool())
        .await
        .unwrap();
        assert_eq!((yard.epoch().await, yard.on_disk().epoch), (expected, before));
        assert_eq!(yard.standing().await, Standing::Agrees);
        assert_eq!(yard.on_disk().epoch, Some(expected), "the file follows");
    }
    // Half a file is never there: it is written aside.
    fs::write(yard.file().with_extension("new"), "torn").unwrap();
    let orphan = yard.ownerless(Stage::Development).await;
    yard.round().await;
    assert_eq!((yard.there(orphan).await, yard.report("containers").await.mode), (NOTHING, Mode::Act));
    assert!(yard.epoch().await > 3, "before a removal the epoch is advanced");
    assert_eq!(yard.on_disk().epoch, Some(yard.epoch().await));
    let before = yard.epoch().await;
    yard.quiet_round().await;
    assert_eq!(yard.epoch().await, before, "a round that removes nothing advances nothing");
    yard.finish().await;
}

#[tokio::test]
async fn docker_advancing_at_once_never_takes_the_file_back() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let advances = (0..20).map(|_| epoch::advance(&yard.shop, yard.host));
    for stand in futures::future::join_all(advances).await {
        assert_eq!(stand.unwrap().standing, Standing::Agrees);
    }
    assert_eq!((yard.epoch().await, yard.on_disk().epoch), (20, Some(20)));
    yard.finish().await;
}

#[tokio::test]
async fn docker_a_directory_that_lost_its_epoch_and_one_of_somebody_else_only_report() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    epoch::advance(&yard.shop, yard.host).await.unwrap();
    let orphan = yard.ownerless(Stage::Development).await;

    let stranger = OnDisk { installation: InstallationId::new(), epoch: Some(1) };
    stranger.write(&yard.file()).unwrap();
    yard.round().await;
    assert_eq!((yard.there(orphan).await, yard.standing().await), (ALL, Standing::Foreign));
    let report = yard.report("databases").await;
    assert_eq!((report.mode, report.would, report.acted), (Mode::Report, 1, 0));
    assert!(report.reason.unwrap().contains("another installation"));
    let confirmed = sqlx::query_scalar!("select ops.confirm_epoch($1)", yard.host.0);
    let refused = confirmed.fetch_one(&mut yard.superuser().await).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "55000");
    assert_eq!(yard.on_disk(), stranger, "nobody writes into a stranger's directory");

    fs::remove_file(yard.file()).unwrap();
    yard.round().await;
    assert_eq!((yard.there(orphan).await, yard.standing().await), (ALL, Standing::Unknown));
    assert!(!yard.file().exists());
    let (actor, mut txn) = yard.admin().await;
    crate::reconcile::service::confirm_epoch_in_txn(&mut txn, &actor, yard.host).await.unwrap();
    txn.commit().await.unwrap();
    yard.round().await;
    assert_eq!(yard.there(orphan).await, NOTHING);
    assert_eq!(yard.on_disk().epoch, Some(yard.epoch().await));
    // There is nothing more to confirm.
    let (actor, mut txn) = yard.admin().await;
    let again =
        crate::reconcile::service::confirm_epoch_in_txn(&mut txn, &actor, yard.host).await.unwrap_err();
    assert_eq!(again.status(), 409);
    yard.finish().await;
}
