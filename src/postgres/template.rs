//! Template databases: a fresh environment's database is a copy of one, in a second instead of a minute.
//!
//! While Odoo fills it, a template belongs to a login of its own. Finished, it belongs to the administrator, nobody
//! can connect to it, and that login is closed. `datistemplate` is set by the last statement, so it tells a finished
//! one from one whose maker was killed.

use super::{
    PostgresError,
    bootstrap::has_database,
    quote::identifier,
    tenants::{Login, Tenants},
};
use crate::config::Secret;
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use std::{fmt, str::FromStr};

/// What Odoo searches with; both extensions are trusted, so that a role that is no superuser may have them. Odoo warns
/// of an `unaccent` that is not immutable (it could not stand in an index), and only a superuser can alter the
/// extension's own: ours says that it is.
const SEARCHING: [&str; 4] = [
    "CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public",
    "CREATE SCHEMA extensions",
    "CREATE EXTENSION IF NOT EXISTS unaccent SCHEMA extensions",
    "CREATE FUNCTION public.unaccent(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
     AS $$ SELECT extensions.unaccent('extensions.unaccent'::regdictionary, $1) $$",
];

/// A template's name: what is in it, such as `19_0_demo_4f2a91`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TemplateName(String);

impl TemplateName {
    /// Its database and its login have the same name.
    pub fn database(&self) -> String {
        format!("template_{}", self.0)
    }
}

impl FromStr for TemplateName {
    type Err = PostgresError;

    fn from_str(text: &str) -> Result<Self, PostgresError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let fits = (1..=40).contains(&text.len()) && text.bytes().all(allowed);
        if fits { Ok(Self(text.to_owned())) } else { Err(PostgresError::TemplateName(text.to_owned())) }
    }
}

impl fmt::Display for TemplateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateState {
    Missing,
    /// Being made, or left by a maker that died.
    Unfinished,
    Finished,
}

/// A template being made. As long as it lives, nobody else makes the same one.
#[derive(Debug)]
pub struct TemplateBuild {
    pub login: Login,
    name: TemplateName,
    /// Holds the advisory lock.
    conn: PgConnection,
}

impl Tenants {
    pub async fn template_state(&self, name: &TemplateName) -> Result<TemplateState, PostgresError> {
        state(&mut *self.pool().acquire().await?, name).await
    }

    /// Begins a template: an empty database with a login for Odoo to fill it. Waits while somebody else makes it;
    /// None when it is then finished. What a killed maker left is replaced.
    pub async fn create_template(&self, name: &TemplateName) -> Result<Option<TemplateBuild>, PostgresError> {
        // Not from the pool: the lock is held for minutes, and is gone with the connection.
        let mut conn = self.admin_options("postgres").connect().await?;
        sqlx::query_scalar!(
            "select true as \"locked!\" from pg_advisory_lock(hashtextextended($1, 0))",
            lock_key(name)
        )
        .fetch_one(&mut conn)
        .await?;
        if state(&mut conn, name).await? == TemplateState::Finished {
            conn.close().await?;
            return Ok(None);
        }
        drop_template(&mut conn, name).await?;
        let database = name.database();
        let quoted = identifier(&database);
        let password = Secret::generate();
        let label = format!("{} template", self.installation());
        self.make_role(&mut conn, &database, password.expose_secret(), 32, &label).await?;
        let statements = [
            format!("CREATE DATABASE {quoted} TEMPLATE template0 ALLOW_CONNECTIONS false"),
            format!("REVOKE ALL ON DATABASE {quoted} FROM PUBLIC"),
            format!("ALTER DATABASE {quoted} OWNER TO {quoted}"),
            format!("ALTER DATABASE {quoted} ALLOW_CONNECTIONS true"),
        ];
        for statement in statements {
            conn.execute(statement.as_str()).await?;
        }
        let mut inside = self.admin_options(&database).connect().await?;
        inside.execute(format!("SET ROLE {quoted}").as_str()).await?;
        for statement in SEARCHING {
            inside.execute(statement).await?;
        }
        inside.close().await?;
        let login = Login { role: database.clone(), database, password: password.into_inner() };
        Ok(Some(TemplateBuild { login, name: name.clone(), conn }))
    }

    /// Removes a template, finished or not. Databases copied from it stay. False: somebody is just making it.
    pub async fn drop_template(&self, name: &TemplateName) -> Result<bool, PostgresError> {
        let mut conn = self.admin_options("postgres").connect().await?;
        let free = sqlx::query_scalar!(
            "select pg_try_advisory_lock(hashtextextended($1, 0)) as \"free!\"",
            lock_key(name)
        );
        let free = free.fetch_one(&mut conn).await?;
        if free {
            drop_template(&mut conn, name).await?;
        }
        // The lock goes with the connection.
        conn.close().await?;
        Ok(free)
    }

    /// The templates of this installation, finished or not.
    pub async fn list_templates(&self) -> Result<Vec<TemplateName>, PostgresError> {
        let names = sqlx::query_scalar!(
            r#"select rolname::text as "name!" from pg_catalog.pg_roles
               where starts_with(rolname::text, 'template_') and shobj_description(oid, 'pg_authid') = $1
               order by rolname"#,
            format!("{} template", self.installation())
        );
        let names = names.fetch_all(self.pool()).await?;
        Ok(names.iter().filter_map(|name| name.strip_prefix("template_")?.parse().ok()).collect())
    }
}

fn lock_key(name: &TemplateName) -> String {
    format!("odooops template {name}")
}

impl TemplateBuild {
    /// The template is complete: closes its login, ends its sessions, and lets it be copied.
    pub async fn finish(mut self) -> Result<(), PostgresError> {
        let database = self.name.database();
        let quoted = identifier(&database);
        let closing = [
            format!("ALTER ROLE {quoted} NOLOGIN PASSWORD NULL"),
            format!("ALTER DATABASE {quoted} ALLOW_CONNECTIONS false"),
            format!("ALTER DATABASE {quoted} OWNER TO CURRENT_USER"),
        ];
        for statement in closing {
            self.conn.execute(statement.as_str()).await?;
        }
        // A copy waits five seconds for sessions to leave, then fails.
        sqlx::query_scalar!(
            "select count(pg_terminate_backend(pid, 5000)) as \"ended!\" from pg_catalog.pg_stat_activity
             where datname = $1 and backend_type = 'client backend'",
            database
        )
        .fetch_one(&mut self.conn)
        .await?;
        self.conn.execute(format!("ALTER DATABASE {quoted} IS_TEMPLATE true").as_str()).await?;
        Ok(self.conn.close().await?)
    }
}

async fn state(conn: &mut PgConnection, name: &TemplateName) -> Result<TemplateState, PostgresError> {
    let row = sqlx::query_scalar!(
        "select datistemplate from pg_catalog.pg_database where datname = $1",
        name.database()
    );
    Ok(match row.fetch_optional(conn).await? {
        None => TemplateState::Missing,
        Some(false) => TemplateState::Unfinished,
        Some(true) => TemplateState::Finished,
    })
}

async fn drop_template(conn: &mut PgConnection, name: &TemplateName) -> Result<(), PostgresError> {
    let database = name.database();
    let quoted = identifier(&database);
    if has_database(conn, &database).await? {
        conn.execute(format!("ALTER DATABASE {quoted} IS_TEMPLATE false").as_str()).await?;
        conn.execute(format!("DROP DATABASE {quoted} WITH (FORCE)").as_str()).await?;
    }
    conn.execute(format!("DROP ROLE IF EXISTS {quoted}").as_str()).await?;
    Ok(())
}
