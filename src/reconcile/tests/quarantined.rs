//! Into quarantine and back, deleted by time or by a person.

use super::{NOTHING, There, Yard};
use crate::{
    access::{self, Actor},
    branch::Stage,
    id::{EnvironmentId, QuarantineId},
    postgres::{database_name, quarantined_name, testing_tenants::TestTenants},
    reconcile::{QuarantineKind, Quarantined, query, service},
};
use sqlx::{ConnectOptions, Executor};

const DATA: There = There { database: true, directory: true, ..NOTHING };

impl Yard {
    async fn quarantine(&self) -> Vec<Quarantined> {
        query::quarantine(&mut self.superuser().await, false).await.unwrap()
    }

    async fn in_quarantine(&self, environment: EnvironmentId, kind: QuarantineKind) -> QuarantineId {
        let rows = self.quarantine().await;
        rows.iter().find(|it| it.environment_id == Some(environment) && it.kind == kind).expect("a row").id
    }

    async fn age_all(&self) {
        sqlx::query!(
            "update ops.quarantine set delete_after = now() - interval '1 second' where not production"
        )
        .execute(&mut self.superuser().await)
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn docker_data_comes_back_as_it_was_and_stays() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let unknown = yard.ownerless(Stage::Staging).await;
    let login = {
        // As the environment's own configuration knows it.
        let template = yard.template().await;
        let run = crate::id::RunId::new();
        yard.shop.tenants.create_database(unknown, run, Stage::Staging, &template, 4).await.unwrap()
    };
    let mut held = yard.shop.tenants.connect_as(&login).await.unwrap();
    held.execute("create table kept (id int); insert into kept values (7)").await.unwrap();
    yard.round().await;
    assert!(held.execute("select 1").await.is_err(), "sessions are ended");
    assert!(yard.shop.tenants.connect_as(&login).await.is_err(), "nobody signs in any more");

    for kind in [QuarantineKind::Database, QuarantineKind::Directory] {
        let id = yard.in_quarantine(unknown, kind).await;
        let (actor, mut txn) = yard.admin().await;
        service::restore_quarantined_in_txn(&mut txn, &actor, id).await.unwrap();
        txn.commit().await.unwrap();
    }
    yard.round().await;
    assert_eq!(yard.there(unknown).await, DATA);
    let mut conn = yard.shop.tenants.connect_as(&login).await.unwrap();
    let row = conn.fetch_one("select id from kept").await.unwrap();
    assert_eq!(sqlx::Row::get::<i32, _>(&row, 0), 7);
    assert!(yard.quarantine().await.is_empty());
    // Nothing owns it still, but a person wanted it there.
    yard.quiet_round().await;
    assert_eq!(yard.there(unknown).await, DATA);
    let audited = sqlx::query_scalar!(
        r#"select count(*) as "count!" from ops.audit_log where action = 'quarantine.restore' and user_id is not null"#
    );
    assert_eq!(audited.fetch_one(&mut yard.superuser().await).await.unwrap(), 2);
    yard.finish().await;
}

#[tokio::test]
async fn docker_time_deletes_all_but_productions_and_a_person_deletes_that_by_its_name() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let (development, production) =
        (yard.ownerless(Stage::Development).await, yard.ownerless(Stage::Production).await);
    // Nobody wrote down whose this is: it may be production's.
    let unsaid = EnvironmentId::new();
    std::fs::create_dir_all(yard.shop.config.environment_dir(unsaid).join("data")).unwrap();
    yard.round().await;
    yard.age_all().await;
    yard.round().await;
    let left: Vec<_> = yard.quarantine().await.into_iter().map(|row| row.environment_id.unwrap()).collect();
    assert!(left.len() == 3 && !left.contains(&development), "{left:?}");
    let aside = |id: EnvironmentId| yard.shop.config.quarantine_dir().join(id.to_string());
    assert!(!aside(development).exists() && aside(production).exists() && aside(unsaid).exists());
    let quarantined = yard.shop.tenants.list_quarantined().await.unwrap();
    assert!(quarantined.len() == 1 && quarantined[0].environment == production);
    // Not even the database lets production's have an end.
    let end = sqlx::query!("update ops.quarantine set delete_after = now() where production");
    assert!(end.execute(&mut yard.superuser().await).await.is_err());

    let id = yard.in_quarantine(production, QuarantineKind::Database).await;
    let (actor, mut txn) = yard.admin().await;
    let wrong = service::delete_quarantined_in_txn(&mut txn, &actor, id, "env_other").await.unwrap_err();
    assert_eq!(wrong.status(), 422);
    let nobody = Actor { platform_admin: false, ..actor };
    let name = database_name(production);
    let refused = service::delete_quarantined_in_txn(&mut txn, &nobody, id, &name).await.unwrap_err();
    assert_eq!(refused.status(), 403);
    drop(txn);
    yard.quiet_round().await;
    let mut txn = access::begin_as(&yard.db.web, actor).await.unwrap();
    service::delete_quarantined_in_txn(&mut txn, &actor, id, &name).await.unwrap();
    txn.commit().await.unwrap();
    yard.round().await;
    assert!(yard.shop.tenants.list_quarantined().await.unwrap().is_empty());
    assert!(aside(production).exists(), "one thing at a time");
    yard.quiet_round().await;
    yard.finish().await;
}

/// Cut off between any two steps, a move is finished by the next round; what is there and not listed is listed.
#[tokio::test]
async fn docker_a_move_that_was_cut_off_is_finished() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let mut superuser = tenants.cluster.superuser_options().connect().await.unwrap();
    let (renamed, closed) = (EnvironmentId::new(), EnvironmentId::new());
    for id in [renamed, closed] {
        yard.data(id, crate::id::RunId::new(), Stage::Development).await;
    }
    let statements = [
        format!("alter role {} nologin", database_name(renamed)),
        format!("alter database {} allow_connections false", database_name(renamed)),
        format!("alter database {} rename to {}", database_name(renamed), quarantined_name(renamed)),
        format!("alter role {} nologin", database_name(closed)),
        format!("alter database {} allow_connections false", database_name(closed)),
    ];
    for statement in statements {
        superuser.execute(statement.as_str()).await.unwrap();
    }
    yard.round().await;
    yard.quiet_round().await;
    let quarantined = yard.shop.tenants.list_quarantined().await.unwrap();
    assert!(quarantined.len() == 2 && quarantined.iter().all(|it| it.exists), "{quarantined:?}");
    assert_eq!(yard.quarantine().await.len(), 4, "{:#?}", yard.quarantine().await);

    // The list was lost.
    sqlx::query!("delete from ops.quarantine").execute(&mut yard.superuser().await).await.unwrap();
    yard.round().await;
    yard.quiet_round().await;
    assert_eq!(yard.quarantine().await.len(), 4);
    // Somebody removed one by hand.
    yard.shop.tenants.drop_quarantined(closed).await.unwrap();
    yard.round().await;
    assert_eq!(yard.quarantine().await.len(), 3);
    yard.quiet_round().await;
    yard.finish().await;
}

impl Yard {
    async fn told_to_go(&self, environment: EnvironmentId) {
        sqlx::query!("update ops.environments set state = 'destroying' where id = $1", environment.0)
            .execute(&mut self.superuser().await)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn docker_what_replaced_production_had_is_kept_until_a_person_decides() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let (production, staging) = (yard.running(Stage::Production).await, yard.running(Stage::Staging).await);
    let run = crate::id::RunId::new();
    let volume = format!("odooops-test-{production}");
    let labels = crate::docker::Labels::environment(run, production);
    yard.shop.docker.create_volume_for_tests(&volume, labels).await;
    let login = {
        let (template, tenants) = (yard.template().await, &yard.shop.tenants);
        tenants.create_database(production, run, Stage::Production, &template, 4).await.unwrap()
    };
    let mut conn = yard.shop.tenants.connect_as(&login).await.unwrap();
    conn.execute("create table kept (id int); insert into kept values (7)").await.unwrap();
    for id in [production, staging] {
        yard.told_to_go(id).await;
    }
    yard.round().await;
    for id in [production, staging] {
        assert_eq!((yard.state(id).await.as_str(), yard.there(id).await), ("destroyed", NOTHING));
    }
    let rows = yard.quarantine().await;
    let mut names: Vec<_> = rows.iter().map(|it| (it.kind.as_str(), it.original_name.clone())).collect();
    names.sort();
    let expected = [
        ("database", database_name(production)),
        ("directory", production.to_string()),
        ("volume", volume.clone()),
    ];
    assert_eq!(names, expected, "staging's went at once");
    let hostname = sqlx::query_scalar!("select hostname from ops.environments where id = $1", production.0);
    let hostname = hostname.fetch_one(&mut yard.superuser().await).await.unwrap();
    for row in &rows {
        assert!(row.production && row.delete_after.is_none(), "{row:#?}");
        assert_eq!(row.environment_id, Some(production));
        // A person must find the one that is meant.
        assert!(row.kind == QuarantineKind::Volume || row.reason.contains(&hostname), "{row:#?}");
    }
    yard.age_all().await;
    yard.quiet_round().await;
    assert_eq!(yard.quarantine().await.len(), 3);
    assert_eq!(yard.shop.docker.volumes().await.unwrap().len(), 1);

    for kind in [QuarantineKind::Database, QuarantineKind::Directory, QuarantineKind::Volume] {
        let id = yard.in_quarantine(production, kind).await;
        let (actor, mut txn) = yard.admin().await;
        service::restore_quarantined_in_txn(&mut txn, &actor, id).await.unwrap();
        txn.commit().await.unwrap();
    }
    yard.round().await;
    yard.quiet_round().await;
    assert_eq!(yard.there(production).await, DATA);
    assert_eq!(yard.shop.docker.volumes().await.unwrap().len(), 1);
    let mut conn = yard.shop.tenants.connect_as(&login).await.unwrap();
    let row = conn.fetch_one("select id from kept").await.unwrap();
    assert_eq!(sqlx::Row::get::<i32, _>(&row, 0), 7);
    yard.finish().await;
}

/// Half of it out of the way, it is neither put back nor called gone.
#[tokio::test]
async fn docker_production_that_goes_in_two_rounds_is_not_put_back_in_between() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let production = yard.running(Stage::Production).await;
    yard.told_to_go(production).await;
    // The directory's place is taken.
    let taken = yard.shop.config.quarantine_dir().join(production.to_string());
    std::fs::create_dir_all(taken.join("other")).unwrap();
    yard.round().await;
    assert_eq!(yard.state(production).await, "destroying");
    assert!(yard.report("environments").await.error.is_some());
    assert_eq!(yard.there(production).await, There { directory: true, ..NOTHING });
    assert_eq!(yard.shop.tenants.list_quarantined().await.unwrap().len(), 1);
    std::fs::remove_dir_all(&taken).unwrap();
    yard.round().await;
    assert_eq!((yard.state(production).await.as_str(), yard.there(production).await), ("destroyed", NOTHING));
    assert_eq!(yard.quarantine().await.len(), 2);
    assert_eq!(std::fs::read(taken.join("data/attachment")).unwrap(), b"kept");
    yard.quiet_round().await;
    yard.finish().await;
}
