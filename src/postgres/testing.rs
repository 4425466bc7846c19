//! For tests: a control database of one's own, copied from a migrated template in a fraction of a second.
//!
//! `TEST_DATABASE_URL` names a cluster to use, by a login that is superuser. Without it, one throwaway cluster per
//! machine and user is started by the first test and stays for the next: tests run as processes of their own, and a
//! cluster for each would take seconds.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot set itself up must stop")]

use super::{
    bootstrap::{OWNER, has_database, make_login},
    cluster::{Cluster, Kind},
    ops::{MIGRATIONS, Role, connect, open_login},
    postmaster::Output,
    quote::identifier,
    recovery,
};
use crate::config::Secret;
use nix::fcntl::{Flock, FlockArg};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    str::FromStr,
    time::{Duration, SystemTime},
};
use uuid::Uuid;

/// Databases of tests that were killed are removed when they are older than any test runs.
const LEFT_OVER: Duration = Duration::from_secs(3600);

/// Part of the template's name: raise it when what `fill_template` does changes.
const TEMPLATE_RECIPE: &str = "2";

/// A migrated ops database of this test's own, and a pool for each role. Dropped with it.
#[derive(Debug)]
pub struct TestDb {
    pub owner: PgPool,
    pub web: PgPool,
    pub worker: PgPool,
    name: String,
    server: Server,
}

/// The cluster that tests share.
#[derive(Debug, Clone)]
struct Server {
    superuser: PgConnectOptions,
    /// One for all roles of a test cluster, the same in every process.
    password: Secret,
}

impl TestDb {
    /// Panics when there is no PostgreSQL: a test that skips itself proves nothing.
    pub async fn new() -> Self {
        let server = Server::find().await;
        let mut conn = server.superuser.connect().await.expect("the test cluster answers");
        let template = server.make_template(&mut conn).await;
        let name = format!("test_{}", Uuid::now_v7().simple());
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER} STRATEGY wal_log");
        conn.execute(sql.as_str()).await.expect("a database is copied");
        let grant = format!("GRANT CONNECT ON DATABASE {name} TO ops_web, ops_worker, ops_admin");
        conn.execute(grant.as_str()).await.expect("roles may connect");
        conn.close().await.expect("the connection closes");
        let pool = |role| connect(server.options(&name, role), 5);
        let (owner, web, worker) = (pool(Role::Owner), pool(Role::Web), pool(Role::Worker));
        Self { owner, web, worker, name, server }
    }

    /// How a role connects to this database.
    pub fn options(&self, role: Role) -> PgConnectOptions {
        self.server.options(&self.name, role)
    }

    /// How the superuser does, for what a test must see or set behind everybody's back.
    pub fn superuser_options(&self) -> PgConnectOptions {
        self.server.superuser.clone().database(&self.name)
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (superuser, name) = (self.server.superuser.clone(), self.name.clone());
        // A runtime of its own: this one may be ending, and cannot be waited for inside itself.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let mut conn = superuser.connect().await.ok()?;
                conn.execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)").as_str()).await.ok()
            })
        });
        _ = dropped.join();
    }
}

impl Server {
    async fn find() -> Self {
        match std::env::var("TEST_DATABASE_URL") {
            Ok(url) => {
                let superuser =
                    PgConnectOptions::from_str(&url).expect("TEST_DATABASE_URL is a connection URL");
                // Every process derives the same passwords, and none is written anywhere.
                let digest = Sha256::digest(format!("odooops tests {url}"));
                let text = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                Self { superuser, password: Secret::from_text(text) }
            }
            Err(_) => Self::shared().await,
        }
    }

    /// The machine's throwaway cluster, started when it does not run.
    async fn shared() -> Self {
        let dir = shared_dir();
        fs::create_dir_all(&dir).expect("the cluster's directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).expect("its mode");
        let lock = File::create(dir.join("lock")).expect("the lock file");
        let lock = tokio::task::spawn_blocking(move || Flock::lock(lock, FlockArg::LockExclusive));
        let _lock = lock.await.expect("the thread ends").map_err(|(_, error)| error).expect("the lock");
        let secrets = dir.join("secrets");
        let cluster =
            Cluster::new(Kind::Throwaway, dir.clone(), &secrets, None).await.expect("PostgreSQL is here");
        let superuser = cluster.superuser_options();
        let data = cluster.data().canonicalize().unwrap_or_else(|_| cluster.data());
        let runs = !recovery::processes(&data).is_empty() && superuser.connect().await.is_ok();
        if !runs {
            cluster.start(&Output::File(dir.join("log"))).await.expect("the cluster starts");
        }
        let password = Secret::load_or_create(&secrets.join("roles.password")).expect("the roles' password");
        Self { superuser, password }
    }

    fn options(&self, database: &str, role: Role) -> PgConnectOptions {
        let options = self.superuser.clone().database(database);
        options.username(role.name()).password(self.password.expose_secret())
    }

    /// The name of the migrated database that tests copy; made by the first who needs it.
    async fn make_template(&self, conn: &mut PgConnection) -> String {
        let mut digest = Sha256::new_with_prefix(TEMPLATE_RECIPE);
        for migration in MIGRATIONS.iter() {
            digest.update(&*migration.checksum);
        }
        let hash: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let name = format!("ops_template_{hash}");
        if has_database(conn, &name).await.expect("the catalogue") {
            return name;
        }
        conn.execute("select pg_advisory_lock(7236514)").await.expect("the lock");
        if !has_database(conn, &name).await.expect("the catalogue") {
            self.fill_template(conn, &name).await;
            remove_left_overs(conn).await;
        }
        conn.execute("select pg_advisory_unlock(7236514)").await.expect("the unlock");
        name
    }

    async fn fill_template(&self, conn: &mut PgConnection, name: &str) {
        let attributes = "NOSUPERUSER NOCREATEDB CREATEROLE NOBYPASSRLS";
        make_login(conn, OWNER, attributes, &self.password).await.expect("the owner");
        // Under another name until complete: whoever sees the name can copy it.
        let making = format!("{name}_making");
        for sql in [
            format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)"),
            format!("CREATE DATABASE {making} OWNER {OWNER}"),
        ] {
            conn.execute(sql.as_str()).await.expect("the template's database");
        }
        let owner = connect(self.options(&making, Role::Owner), 2);
        MIGRATIONS.run(&owner).await.expect("the migrations apply");
        for role in [Role::Web, Role::Worker] {
            open_login(&owner, role, &self.password).await.expect("the role's login");
        }
        owner.close().await;
        // A session ends a moment after its connection, and a busy machine makes moments long.
        let rest = format!(
            "select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = '{making}'"
        );
        conn.execute(rest.as_str()).await.expect("the last sessions end");
        conn.execute(format!("ALTER DATABASE {making} RENAME TO {name}").as_str()).await.expect("the name");
    }
}

fn shared_dir() -> PathBuf {
    std::env::temp_dir().join(format!("odooops-test-{}", nix::unistd::geteuid()))
}

async fn remove_left_overs(conn: &mut PgConnection) {
    let names = sqlx::query_scalar!(
        "select datname::text as \"name!\" from pg_catalog.pg_database where datname like 'test\\_%'"
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is past 1970");
    for name in names.fetch_all(&mut *conn).await.expect("the catalogue") {
        let made = name.strip_prefix("test_").and_then(|id| Uuid::try_parse(id).ok()?.get_timestamp());
        let Some(made) = made else { continue };
        if Duration::from_secs(made.to_unix().0) + LEFT_OVER < now {
            let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&name));
            conn.execute(sql.as_str()).await.expect("a left-over is dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_test_has_a_migrated_database_of_its_own_and_leaves_none() {
        let (one, two) = tokio::join!(TestDb::new(), TestDb::new());
        assert_ne!(one.name, two.name);
        for pool in [&one.owner, &one.web, &one.worker, &two.web] {
            let name = sqlx::query_scalar!("select current_database()::text as \"name!\"")
                .fetch_one(pool)
                .await
                .unwrap();
            assert!(name == one.name || name == two.name);
        }
        let (name, server) = (one.name.clone(), one.server.clone());
        drop(one);
        let mut conn = server.superuser.connect().await.unwrap();
        assert!(!has_database(&mut conn, &name).await.unwrap());
    }
}
