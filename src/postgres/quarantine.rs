//! Databases out of the way: renamed, closed, with the role that owns them. Any call may be killed between two
//! statements and repeated.

use super::{
    PostgresError,
    bootstrap::has_database,
    quote::identifier,
    tenants::{TenantDatabase, Tenants, database_name, drop_database, has_role},
};
use crate::id::EnvironmentId;
use sqlx::Executor;

const PREFIX: &str = "quarantine_";

/// The name of an environment's database and role while they are in quarantine.
pub fn quarantined_name(environment: EnvironmentId) -> String {
    format!("{PREFIX}{}", environment.0.simple())
}

impl Tenants {
    /// Nobody connects to it any more; its data stay.
    pub async fn quarantine_database(&self, environment: EnvironmentId) -> Result<(), PostgresError> {
        let (name, aside) = (database_name(environment), quarantined_name(environment));
        let (quoted, new) = (identifier(&name), identifier(&aside));
        let mut conn = self.pool().acquire().await?;
        let has_role = has_role(&mut conn, &name).await?;
        if has_role {
            conn.execute(format!("ALTER ROLE {quoted} NOLOGIN").as_str()).await?;
        }
        if has_database(&mut conn, &name).await? {
            conn.execute(format!("ALTER DATABASE {quoted} ALLOW_CONNECTIONS false").as_str()).await?;
            // A database with sessions cannot be renamed.
            sqlx::query_scalar!(
                "select count(pg_terminate_backend(pid, 5000)) as \"ended!\" from pg_catalog.pg_stat_activity
                 where datname = $1 and backend_type = 'client backend'",
                name
            )
            .fetch_one(&mut *conn)
            .await?;
            conn.execute(format!("ALTER DATABASE {quoted} RENAME TO {new}").as_str()).await?;
        }
        // Last: by the role the database is found, also when this is cut off in between.
        if has_role {
            conn.execute(format!("ALTER ROLE {quoted} RENAME TO {new}").as_str()).await?;
        }
        Ok(())
    }

    /// Back under its name, open, with its role and that one's password.
    pub async fn put_database_back(&self, environment: EnvironmentId) -> Result<(), PostgresError> {
        let (name, aside) = (database_name(environment), quarantined_name(environment));
        let (quoted, old) = (identifier(&name), identifier(&aside));
        let mut conn = self.pool().acquire().await?;
        if has_database(&mut conn, &aside).await? {
            conn.execute(format!("ALTER DATABASE {old} RENAME TO {quoted}").as_str()).await?;
        }
        if has_role(&mut conn, &aside).await? {
            conn.execute(format!("ALTER ROLE {old} RENAME TO {quoted}").as_str()).await?;
        }
        if has_database(&mut conn, &name).await? {
            conn.execute(format!("ALTER DATABASE {quoted} ALLOW_CONNECTIONS true").as_str()).await?;
        }
        if has_role(&mut conn, &name).await? {
            conn.execute(format!("ALTER ROLE {quoted} LOGIN").as_str()).await?;
        }
        Ok(())
    }

    /// Removes a database that is in quarantine, and its role. Nothing there is fine.
    pub async fn drop_quarantined(&self, environment: EnvironmentId) -> Result<(), PostgresError> {
        let aside = quarantined_name(environment);
        let mut conn = self.pool().acquire().await?;
        drop_database(&mut conn, &aside).await?;
        conn.execute(format!("DROP ROLE IF EXISTS {}", identifier(&aside)).as_str()).await?;
        Ok(())
    }

    /// Whether the environment's database is in quarantine, whatever its role is called by now.
    pub async fn is_quarantined(&self, environment: EnvironmentId) -> Result<bool, PostgresError> {
        has_database(&mut *self.pool().acquire().await?, &quarantined_name(environment)).await
    }

    /// What this installation has in quarantine here.
    pub async fn list_quarantined(&self) -> Result<Vec<TenantDatabase>, PostgresError> {
        self.listed(PREFIX).await
    }
}
