//! An ops database restored from an older dump removes nothing, and says what it would.

use super::{ALL, NOTHING, There, Yard};
use crate::{
    branch::Stage,
    docker::names,
    id::{EnvironmentId, RunId},
    postgres::{database_name, ops::Role, testing_tenants::TestTenants},
    queue::{self, Claim},
    reconcile::{Mode, Standing, epoch, keeper, query, service},
    run::job::{
        JobError, Workshop,
        collect::Collectors,
        remove::{self, Patience},
    },
};
use sqlx::{ConnectOptions, Executor, PgConnection, postgres::PgPoolOptions};
use uuid::Uuid;

impl Yard {
    /// The database as it is now, beside it. Everybody's connections to it are closed for that.
    async fn dump(&self) -> String {
        let from = self.superuser_database();
        let name = format!("test_{}", Uuid::now_v7().simple());
        let mut conn = self.db.superuser_options().database("postgres").connect().await.unwrap();
        let closed =
            format!("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{from}'");
        conn.execute(closed.as_str()).await.unwrap();
        conn.execute(format!("create database {name} template {from} strategy wal_log").as_str())
            .await
            .unwrap();
        conn.execute(format!("grant connect on database {name} to ops_web, ops_worker").as_str())
            .await
            .unwrap();
        name
    }

    fn superuser_database(&self) -> String {
        self.db.superuser_options().get_database().unwrap().to_owned()
    }

    /// The same host, Docker and data directory on the database of that dump.
    fn restored(&self, dump: &str) -> Restored {
        let options = self.db.options(Role::Worker).database(dump);
        let pool = PgPoolOptions::new().max_connections(5).connect_lazy_with(options);
        let shop = Workshop { pool, ..self.shop.clone() };
        Restored { collectors: Collectors::new(shop.clone()), shop, dump: dump.to_owned() }
    }

    async fn drop_dump(&self, restored: Restored) {
        restored.collectors.stop().await;
        restored.shop.pool.close().await;
        let mut conn = self.db.superuser_options().database("postgres").connect().await.unwrap();
        conn.execute(format!("drop database {} with (force)", restored.dump).as_str()).await.unwrap();
    }

    /// As a worker claims, with a lease that outlives the test.
    async fn claim(&self) -> Claim {
        let claim = claim(&self.shop).await;
        sqlx::query!(
            "update ops.runs set lease_expires_at = now() + interval '1 hour' where id = $1",
            claim.id.0
        )
        .execute(&mut self.superuser().await)
        .await
        .unwrap();
        claim
    }
}

async fn claim(shop: &Workshop) -> Claim {
    let mut conn = shop.pool.acquire().await.unwrap();
    queue::claim(&mut conn, &shop.name).await.unwrap().expect("a run to claim")
}

struct Restored {
    shop: Workshop,
    collectors: Collectors,
    dump: String,
}

impl Restored {
    async fn round(&self) {
        keeper::run_round(&self.shop, &self.collectors).await.unwrap();
        keeper::tidy_round(&self.shop, &self.collectors).await.unwrap();
    }

    async fn superuser(&self, yard: &Yard) -> PgConnection {
        yard.db.superuser_options().database(&self.dump).connect().await.unwrap()
    }

    async fn would(&self, yard: &Yard) -> Vec<String> {
        let reports = query::reports(&mut self.superuser(yard).await).await.unwrap();
        let mut would = Vec::new();
        for it in reports.iter().map(|it| &it.report) {
            assert_eq!((it.mode, it.acted, &it.error), (Mode::Report, 0, &None), "{it:#?}");
            assert!(it.reason.as_deref().unwrap().contains("restored"), "{it:#?}");
            would.extend(it.findings.iter().map(|found| {
                assert!(!found.done);
                let object = found.object.rsplit('/').next().unwrap();
                format!("{}: {} {object}", it.name, found.what)
            }));
        }
        would.sort();
        would
    }
}

#[tokio::test]
async fn docker_an_older_dump_removes_nothing_says_what_it_would_and_acts_once_confirmed() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    let known = yard.running(Stage::Production).await;
    // It goes on being built after the dump, and people work in it.
    let under_way = EnvironmentId::new();
    let run = queued(&yard).await;
    let first = yard.claim().await;
    assert_eq!(first.id, run);
    epoch::before_creation(&yard.shop, &first).await.unwrap();
    yard.row(under_way, run, "building", Stage::Production).await;
    yard.round().await;
    let dump = yard.dump().await;

    yard.things(under_way, run, Stage::Production).await;
    // A build claims, which advances the epoch before it makes anything.
    let made_by = queued(&yard).await;
    epoch::before_creation(&yard.shop, &yard.claim().await).await.unwrap();
    let since = EnvironmentId::new();
    yard.row(since, made_by, "running", Stage::Development).await;
    yard.things(since, made_by, Stage::Development).await;
    yard.quiet_round().await;

    let restored = yard.restored(&dump);
    restored.round().await;
    restored.round().await;
    for environment in [known, under_way, since] {
        assert_eq!(yard.there(environment).await, ALL);
    }
    let expected = {
        let mut expected = vec![
            format!("containers: remove {}", names::container(since, "server-1")),
            format!("networks: remove {}", names::environment_network(since)),
            format!("databases: quarantine {}", database_name(since)),
            format!("directories: quarantine {since}"),
        ];
        expected.sort();
        expected
    };
    assert_eq!(restored.would(&yard).await, expected);
    assert_eq!(epoch::stand(&restored.shop, yard.host).await.unwrap().standing, Standing::Behind);

    // New work goes on, and does not bring the epochs together by and by.
    let mut conn = restored.superuser(&yard).await;
    for _ in 0..30 {
        let stand = epoch::advance(&restored.shop, yard.host).await.unwrap();
        assert_eq!(stand.standing, Standing::Behind);
    }
    let new = RunId::new();
    insert_queued(&mut conn, &yard, new).await;
    epoch::before_creation(&restored.shop, &claim(&restored.shop).await).await.unwrap();

    // The run that was under way in the dump is not tried again over what it made, and its end removes nothing.
    sqlx::query!("update ops.runs set lease_expires_at = now() - interval '1 minute' where id = $1", run.0)
        .execute(&mut conn)
        .await
        .unwrap();
    restored.round().await;
    let again = claim(&restored.shop).await;
    assert_eq!(again.id, run);
    let refused = epoch::before_creation(&restored.shop, &again).await.unwrap_err();
    assert!(
        matches!(&refused, JobError::Fail { message, .. } if message.contains("restored")),
        "{refused:?}"
    );
    remove::everything_of(&restored.shop, &restored.collectors, &again, Patience::Slot).await;
    assert_eq!(yard.there(under_way).await, ALL);
    queue::finish(
        &mut restored.shop.pool.acquire().await.unwrap(),
        &again,
        crate::run::RunStatus::Failed,
        None,
        None,
    )
    .await
    .unwrap();
    restored.round().await;
    assert_eq!(yard.there(under_way).await, ALL);

    // An administrator looks and confirms.
    let confirmed = sqlx::query_scalar!("select ops.confirm_epoch($1)", yard.host.0);
    confirmed.fetch_one(&mut conn).await.unwrap();
    restored.round().await;
    assert_eq!(yard.there(known).await, ALL);
    assert_eq!(yard.there(since).await, NOTHING);
    assert_eq!(yard.there(under_way).await, NOTHING);
    let rows = query::quarantine(&mut conn, true).await.unwrap();
    assert_eq!(rows.len(), 4, "{rows:#?}");
    for row in rows {
        let is_production = row.environment_id == Some(under_way);
        assert_eq!((row.production, row.delete_after.is_none()), (is_production, is_production), "{row:#?}");
    }
    assert_eq!(epoch::stand(&restored.shop, yard.host).await.unwrap().standing, Standing::Agrees);

    // The first database comes back after all: it is the older one now, and finds its own again.
    yard.round().await;
    yard.round().await;
    assert_eq!(yard.report("containers").await.mode, Mode::Report);
    assert_eq!(
        yard.there(since).await,
        There { database: true, directory: true, ..NOTHING },
        "its data is brought back from quarantine"
    );
    yard.drop_dump(restored).await;
    yard.finish().await;
}

#[tokio::test]
async fn docker_of_two_dumps_each_is_older_than_what_followed() {
    let tenants = TestTenants::start().await;
    let yard = Yard::start(&tenants).await;
    yard.running(Stage::Development).await;
    epoch::advance(&yard.shop, yard.host).await.unwrap();
    let dump = yard.dump().await;
    // A dump that has the last epoch knows of everything that was made: it acts at once.
    let same = yard.restored(&dump);
    let orphan = yard.ownerless(Stage::Development).await;
    same.round().await;
    assert_eq!(yard.there(orphan).await, NOTHING);
    // That was a removal: the database that it was taken from is the older one now.
    let second = yard.ownerless(Stage::Development).await;
    yard.round().await;
    assert_eq!(yard.there(second).await, ALL);
    assert_eq!(yard.report("containers").await.mode, Mode::Report);
    // Confirmed, it is the newer one, and the other one waits.
    let (actor, mut txn) = yard.admin().await;
    service::confirm_epoch_in_txn(&mut txn, &actor, yard.host).await.unwrap();
    txn.commit().await.unwrap();
    yard.round().await;
    assert_eq!(yard.there(second).await, NOTHING);
    let third = yard.ownerless(Stage::Development).await;
    same.round().await;
    assert_eq!(yard.there(third).await, ALL);
    yard.drop_dump(same).await;
    yard.finish().await;
}

async fn queued(yard: &Yard) -> RunId {
    let run = RunId::new();
    insert_queued(&mut yard.superuser().await, yard, run).await;
    run
}

async fn insert_queued(conn: &mut PgConnection, yard: &Yard, run: RunId) {
    sqlx::query!(
        "insert into ops.runs (id, project_id, kind, git_ref, commit_sha) values ($1, $2, 'build', 'main', 'abcdef0')",
        run.0,
        yard.project.0
    )
    .execute(conn)
    .await
    .unwrap();
}
