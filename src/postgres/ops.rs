//! The ops database: who connects to it, and its migrations.

use super::{
    PostgresError,
    bootstrap::{OPS_DATABASE, OWNER},
    cluster::socket_options,
    password::scram_verifier,
    quote::{identifier, literal},
};
use crate::{
    config::{Config, Secret},
    node::Identity,
    retention,
};
use secrecy::ExposeSecret;
use sqlx::{
    Connection, Executor, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::time::Duration;

/// Flat SQL, embedded: the binary brings the schema that it was compiled against.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// A request that cannot get a connection within this is told that the database does not answer.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(3);

/// The logins of the ops database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs migrations.
    Owner,
    /// `ops serve`: owns nothing, bypasses nothing; row level security sees the user of each transaction.
    Web,
    /// `ops work` and `ops proxy`.
    Worker,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => OWNER,
            Self::Web => "ops_web",
            Self::Worker => "ops_worker",
        }
    }

    /// The password's file in the secrets' directory. Made when there is none.
    pub fn password(self, config: &Config) -> Result<Secret, PostgresError> {
        let file = config.secrets_dir().join(format!("control-{}.password", self.name()));
        Ok(Secret::load_or_create(&file)?)
    }
}

/// How a role connects: to the embedded cluster, or to where `database_url` points. That URL is the owner's; the
/// others go to the same database by names and passwords of their own.
pub fn options(config: &Config, role: Role) -> Result<PgConnectOptions, PostgresError> {
    let joined = Identity::of(config).map_err(|error| PostgresError::Identity(error.to_string()))?;
    let socket = || socket_options(&config.control_dir().join("socket"));
    let (options, login) = match (joined, &config.database_url, role) {
        // A relay stands where the control cluster would be; the login is this machine's own.
        (Some(joined), _, Role::Worker) => (socket().database(&joined.database), joined.db_role),
        (Some(_), _, Role::Owner | Role::Web) => {
            let reason = "this machine has joined another: run this on the console's machine".to_owned();
            return Err(PostgresError::Identity(reason));
        }
        (None, Some(url), Role::Owner) => return Ok(url.options()?.application_name("ops owner")),
        (None, Some(url), _) => (url.options()?, role.name().to_owned()),
        (None, None, _) => (socket().database(OPS_DATABASE), role.name().to_owned()),
    };
    let password = role.password(config)?;
    Ok(options
        .username(&login)
        .password(password.expose_secret())
        .application_name(&format!("ops {}", role.name().trim_start_matches("ops_"))))
}

/// A pool for one role. It connects when first used and again after PostgreSQL was restarted, so that every process
/// can start, and go on, without it.
pub fn pool(config: &Config, role: Role, connections: u32) -> Result<PgPool, PostgresError> {
    Ok(connect(options(config, role)?, connections))
}

/// The same for any login, as tests need.
pub fn connect(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_WITHIN)
        .idle_timeout(Duration::from_secs(300))
        // Checked before it is handed out: one from before a restart of PostgreSQL is replaced, not returned broken.
        .test_before_acquire(true)
        .connect_lazy_with(options)
}

/// Applies the migrations that are missing, one process at a time, then opens the logins of `ops serve` and
/// `ops work`, which the migrations make without password, and writes how long what is kept. The pool is the owner's.
pub async fn migrate(config: &Config, owner: &PgPool) -> Result<(), PostgresError> {
    MIGRATIONS.run(owner).await?;
    for role in [Role::Web, Role::Worker] {
        open_login(owner, role, &role.password(config)?).await?;
    }
    let mut conn = owner.acquire().await?;
    retention::store_settings(&mut conn, config).await?;
    // Before anybody writes: what lies in no day's partition has to be moved there later.
    Ok(sqlx::query_scalar!("select ops.ensure_partitions()").fetch_one(&mut *conn).await.map(drop)?)
}

/// Gives a role its password and the right to connect to this database.
pub async fn open_login(owner: &PgPool, role: Role, password: &Secret) -> Result<(), PostgresError> {
    let mut conn = owner.acquire().await?;
    let database =
        sqlx::query_scalar!("select current_database()::text as \"name!\"").fetch_one(&mut *conn).await?;
    let verifier = scram_verifier(password.expose_secret())?;
    let mut txn = conn.begin().await?;
    let statements = [
        format!("ALTER ROLE {} LOGIN PASSWORD {}", role.name(), literal(&verifier)),
        format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", identifier(&database)),
        format!("GRANT CONNECT ON DATABASE {} TO {}", identifier(&database), role.name()),
        // Readiness of every process asks whether the schema is the one it was compiled against.
        format!("GRANT SELECT ON public._sqlx_migrations TO {}", role.name()),
    ];
    for statement in statements {
        txn.execute(statement.as_str()).await?;
    }
    Ok(txn.commit().await?)
}

/// Whether every migration of this binary is applied. Readiness asks.
pub async fn is_current(pool: &PgPool) -> Result<bool, PostgresError> {
    let (applied, known) = migrations(&mut *pool.acquire().await?).await?;
    Ok(applied >= known)
}

/// The newest migration that the database has, and the newest of this binary.
pub async fn migrations(conn: &mut PgConnection) -> Result<(i64, i64), sqlx::Error> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    // The table is sqlx's own and only the owner's: its existence and content cannot be checked at compile time.
    let row =
        conn.fetch_one("select coalesce(max(version), 0) from public._sqlx_migrations where success").await?;
    Ok((sqlx::Row::try_get::<i64, _>(&row, 0)?, known))
}
