//! The roles and databases that an embedded cluster begins with. Run at every start as the superuser, and the only
//! thing it does; every statement may be repeated.

use super::{
    PostgresError,
    cluster::Cluster,
    password::scram_verifier,
    quote::{identifier, literal},
};
use crate::config::Secret;
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};

/// The owner of the ops database: runs migrations, and nothing else logs in as it.
pub const OWNER: &str = "odooops";
/// The ops database.
pub const OPS_DATABASE: &str = "ops";
/// Makes environments' roles and databases.
pub const TENANTS_ADMIN: &str = "odooops_admin";

/// Makes the owner and the ops database.
pub async fn bootstrap_control(cluster: &Cluster, owner: &Secret) -> Result<(), PostgresError> {
    let mut conn = cluster.superuser_options().connect().await?;
    make_login(&mut conn, OWNER, "NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS", owner)
        .await?;
    close_to_public(&mut conn).await?;
    if !has_database(&mut conn, OPS_DATABASE).await? {
        // Closed before anyone can enter, then opened to its owner.
        let sql = format!("CREATE DATABASE {OPS_DATABASE} OWNER {OWNER} ALLOW_CONNECTIONS false");
        conn.execute(sql.as_str()).await?;
    }
    conn.execute("REVOKE ALL ON DATABASE ops FROM PUBLIC").await?;
    conn.execute("ALTER DATABASE ops ALLOW_CONNECTIONS true").await?;
    conn.close().await?;
    let mut ops = cluster.superuser_options().database(OPS_DATABASE).connect().await?;
    add_statements(&mut ops).await;
    Ok(ops.close().await?)
}

/// Makes the role that administers tenants' databases: no superuser, since it connects to databases whose owners
/// run foreign code.
pub async fn bootstrap_tenants(cluster: &Cluster, admin: &Secret) -> Result<(), PostgresError> {
    let mut conn = cluster.superuser_options().connect().await?;
    make_login(&mut conn, TENANTS_ADMIN, "NOSUPERUSER CREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS", admin)
        .await?;
    close_to_public(&mut conn).await?;
    let grants = [
        format!("GRANT pg_monitor, pg_signal_backend TO {TENANTS_ADMIN}"),
        format!("GRANT CONNECT ON DATABASE postgres TO {TENANTS_ADMIN}"),
    ];
    for grant in grants {
        conn.execute(grant.as_str()).await?;
    }
    add_statements(&mut conn).await;
    Ok(conn.close().await?)
}

/// A role with these attributes and this password, made or corrected.
pub async fn make_login(
    conn: &mut PgConnection,
    role: &str,
    attributes: &str,
    password: &Secret,
) -> Result<(), PostgresError> {
    let exists = sqlx::query_scalar!(
        "select exists (select from pg_catalog.pg_roles where rolname = $1) as \"exists!\"",
        role
    )
    .fetch_one(&mut *conn)
    .await?;
    if !exists {
        conn.execute(format!("CREATE ROLE {}", identifier(role)).as_str()).await?;
    }
    let verifier = scram_verifier(password.expose_secret())?;
    let sql = format!("ALTER ROLE {} LOGIN {attributes} PASSWORD {}", identifier(role), literal(&verifier));
    conn.execute(sql.as_str()).await?;
    Ok(())
}

/// Whoever logs in to a cluster gets no database that was not given to them, nor the ones it came with.
async fn close_to_public(conn: &mut PgConnection) -> Result<(), PostgresError> {
    for database in ["postgres", "template1", "template0"] {
        conn.execute(format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC").as_str()).await?;
    }
    Ok(())
}

pub async fn has_database(conn: &mut PgConnection, name: &str) -> Result<bool, PostgresError> {
    let exists = sqlx::query_scalar!(
        "select exists (select from pg_catalog.pg_database where datname = $1) as \"exists!\"",
        name
    );
    Ok(exists.fetch_one(conn).await?)
}

/// Statistics are welcome, not needed: where the library is missing, so is the extension.
async fn add_statements(conn: &mut PgConnection) {
    if let Err(error) = conn.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await {
        tracing::debug!(%error, "no pg_stat_statements");
    }
}
