//! Environments' databases, as a worker needs them: made from a template, listed, dropped.
//!
//! Each environment has one database and one role, both named after its id. Any call may be killed between two
//! statements and repeated: whatever an earlier one left is replaced, and a password is told only when all is done.

use super::{
    PostgresError,
    bootstrap::{TENANTS_ADMIN, has_database},
    cluster::socket_options,
    ops::connect,
    password::scram_verifier,
    quote::{identifier, literal},
    template::{TemplateName, TemplateState},
};
use crate::{
    branch::Stage,
    config::{Config, Secret},
    id::{EnvironmentId, InstallationId, RunId},
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use uuid::Uuid;

/// Of sessions with an environment's own rights. Its tables are where Odoo puts them (the administrator's own path stops
/// at PostgreSQL's), and what its code has put there must not hold us up.
const SESSION: [(&str, &str); 2] = [("search_path", "public"), ("statement_timeout", "60s")];

/// How an environment connects.
#[derive(Debug, Clone)]
pub struct Login {
    pub role: String,
    pub database: String,
    pub password: SecretString,
}

/// A database that this installation made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantDatabase {
    pub environment: EnvironmentId,
    pub run: RunId,
    /// None: it was made when nobody wrote that down.
    pub stage: Option<Stage>,
    /// Whether the role has a database; a kill can leave the role alone.
    pub exists: bool,
}

/// The name of an environment's database and of its role.
pub fn database_name(environment: EnvironmentId) -> String {
    format!("env_{}", environment.0.simple())
}

/// The tenants cluster, by the role that administers it.
#[derive(Debug, Clone)]
pub struct Tenants {
    options: PgConnectOptions,
    pool: PgPool,
    installation: InstallationId,
}

impl Tenants {
    /// The embedded cluster. Connects when first used.
    pub fn open(config: &Config, installation: InstallationId) -> Result<Self, PostgresError> {
        let options = socket_options(&config.tenants_socket_dir())
            .username(TENANTS_ADMIN)
            .password(Self::admin_password(config)?.expose_secret())
            .database("postgres");
        Ok(Self::new(options, installation))
    }

    /// The embedded cluster's administrator's password.
    pub fn admin_password(config: &Config) -> Result<Secret, PostgresError> {
        Ok(Secret::load_or_create(&config.secrets_dir().join("tenants-admin.password"))?)
    }

    /// Any cluster, by a login with CREATEDB and CREATEROLE.
    pub fn new(options: PgConnectOptions, installation: InstallationId) -> Self {
        // Databases belong to those whose code runs in them, and an owner can set a database's search path: what
        // the administrator calls there must be PostgreSQL's own.
        let options = options.application_name("ops tenants").options([("search_path", "pg_catalog")]);
        let pool = connect(options.clone(), 4);
        Self { options, pool, installation }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) fn installation(&self) -> InstallationId {
        self.installation
    }

    pub(super) fn admin_options(&self, database: &str) -> PgConnectOptions {
        self.options.clone().database(database)
    }

    /// A fresh copy of the template, with a fresh password. A database that the environment had is dropped: a
    /// second attempt must not find what the first one left.
    pub async fn create_database(
        &self,
        environment: EnvironmentId,
        run: RunId,
        stage: Stage,
        template: &TemplateName,
        connections: u32,
    ) -> Result<Login, PostgresError> {
        if self.template_state(template).await? != TemplateState::Finished {
            return Err(PostgresError::NoTemplate(template.to_string()));
        }
        let name = database_name(environment);
        let quoted = identifier(&name);
        let mut conn = self.pool.acquire().await?;
        drop_database(&mut conn, &name).await?;
        let password = Secret::generate();
        let label = format!("{} {run} {}", self.installation, stage.as_str());
        self.make_role(&mut conn, &name, password.expose_secret(), connections, &label).await?;
        let template = identifier(&template.database());
        let statements = [
            // Closed until PUBLIC's right to connect is gone.
            format!("CREATE DATABASE {quoted} TEMPLATE {template} ALLOW_CONNECTIONS false"),
            format!("REVOKE ALL ON DATABASE {quoted} FROM PUBLIC"),
            // The schema `public` belongs to the database's owner, who must be able to create in it to be given
            // its objects.
            format!("ALTER DATABASE {quoted} OWNER TO {quoted}"),
            format!("ALTER DATABASE {quoted} ALLOW_CONNECTIONS true"),
        ];
        for statement in statements {
            conn.execute(statement.as_str()).await?;
        }
        let mut inside = self.admin_options(&name).connect().await?;
        inside.execute(format!("REASSIGN OWNED BY {template} TO {quoted}").as_str()).await?;
        inside.close().await?;
        Ok(Login { role: name.clone(), database: name, password: password.into_inner() })
    }

    /// A session with the environment's own rights: what its code has put there acts with no more than that.
    pub async fn connect_as(&self, login: &Login) -> Result<PgConnection, PostgresError> {
        let options = self.options.clone().username(&login.role).password(login.password.expose_secret());
        Ok(options.database(&login.database).options(SESSION).connect().await?)
    }

    /// Ends the environment's sessions and removes its database, then its role. Nothing there is fine.
    pub async fn drop_database(&self, environment: EnvironmentId) -> Result<(), PostgresError> {
        let name = database_name(environment);
        let mut conn = self.pool.acquire().await?;
        drop_database(&mut conn, &name).await?;
        conn.execute(format!("DROP ROLE IF EXISTS {}", identifier(&name)).as_str()).await?;
        Ok(())
    }

    /// Everything that this installation made here, by the roles' comments: a role cannot change its own, a
    /// database's owner could change that one's.
    pub async fn list_databases(&self) -> Result<Vec<TenantDatabase>, PostgresError> {
        self.listed("env_").await
    }

    /// Those of this installation whose roles are named so.
    pub(super) async fn listed(&self, prefix: &str) -> Result<Vec<TenantDatabase>, PostgresError> {
        let rows = sqlx::query!(
            r#"select r.rolname::text as "name!", shobj_description(r.oid, 'pg_authid') as label,
                      d.oid is not null as "exists!"
               from pg_catalog.pg_roles r left join pg_catalog.pg_database d on d.datname = r.rolname
               where starts_with(r.rolname::text, $1) order by r.rolname"#,
            prefix
        );
        let rows = rows.fetch_all(&self.pool).await?;
        let ours = rows.into_iter().filter_map(|row| {
            let label = row.label?;
            let mut words = label.split(' ');
            let installation = words.next()?.parse();
            let environment = EnvironmentId(Uuid::try_parse(row.name.strip_prefix(prefix)?).ok()?);
            let run = words.next()?.parse().ok()?;
            let stage = words.next().and_then(|word| word.parse().ok());
            let is_ours = installation == Ok(self.installation);
            is_ours.then_some(TenantDatabase { environment, run, stage, exists: row.exists })
        });
        Ok(ours.collect())
    }

    /// Bytes on disk; None when there is no such database.
    pub async fn database_size(&self, environment: EnvironmentId) -> Result<Option<i64>, PostgresError> {
        let name = database_name(environment);
        let size = sqlx::query_scalar!(
            "select pg_database_size(oid) as \"size!\" from pg_catalog.pg_database where datname = $1",
            name
        );
        Ok(size.fetch_optional(&self.pool).await?)
    }

    /// A role that can log in and nothing else, made or corrected. The administrator becomes a member, which it
    /// must be to hand a database over.
    pub(super) async fn make_role(
        &self,
        conn: &mut PgConnection,
        role: &str,
        password: &str,
        connections: u32,
        label: &str,
    ) -> Result<(), PostgresError> {
        let quoted = identifier(role);
        // In one go, which is one transaction: a role without its label would be nobody's for ever.
        let comment = format!("COMMENT ON ROLE {quoted} IS {}", literal(label));
        let label = match has_role(conn, role).await? {
            true => comment,
            false => format!("CREATE ROLE {quoted}; {comment}"),
        };
        conn.execute(label.as_str()).await?;
        let verifier = literal(&scram_verifier(password)?);
        let statements = [
            format!("GRANT {quoted} TO CURRENT_USER"),
            format!(
                "ALTER ROLE {quoted} LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT {connections} PASSWORD {verifier}"
            ),
        ];
        for statement in statements {
            conn.execute(statement.as_str()).await?;
        }
        Ok(())
    }
}

pub(super) async fn drop_database(conn: &mut PgConnection, name: &str) -> Result<(), PostgresError> {
    if has_database(conn, name).await? {
        conn.execute(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name)).as_str()).await?;
    }
    Ok(())
}

pub(super) async fn has_role(conn: &mut PgConnection, name: &str) -> Result<bool, PostgresError> {
    let exists = sqlx::query_scalar!(
        "select exists (select from pg_catalog.pg_roles where rolname = $1) as \"exists!\"",
        name
    );
    Ok(exists.fetch_one(conn).await?)
}
