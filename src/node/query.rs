//! Hosts as the node listener and the proxies know them.

use super::Fingerprint;
use crate::{
    Error, Result,
    id::{EnvironmentId, HostId, InstallationId, ProjectId},
};
use sqlx::PgConnection;

/// A machine that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub id: HostId,
    pub name: String,
}

/// Whose key this is; None when it is nobody's, or that of a machine that was revoked.
pub async fn host_of_key(conn: &mut PgConnection, key: Fingerprint) -> Result<Option<Host>> {
    let host = sqlx::query_as!(
        Host,
        r#"select id as "id!: HostId", name as "name!" from ops.node_host($1)"#,
        key.to_string()
    );
    Ok(host.fetch_optional(conn).await?)
}

/// Whether a machine may have a project's sources: while it builds them.
pub async fn may_fetch(conn: &mut PgConnection, host: HostId, project: ProjectId) -> Result<bool> {
    let may = sqlx::query_scalar!("select ops.node_may_fetch($1, $2)", host.0, project.0);
    Ok(may.fetch_one(conn).await?.unwrap_or_default())
}

pub async fn installation(conn: &mut PgConnection) -> Result<InstallationId> {
    Ok(sqlx::query_scalar!("select id from ops.installation").fetch_one(conn).await?.into())
}

/// Where a machine is called; None for the console's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    pub host: HostId,
    pub address: String,
}

/// The machine that an environment is on. None: the console's own.
pub async fn whereabouts(conn: &mut PgConnection, environment: EnvironmentId) -> Result<Option<Whereabouts>> {
    let row = sqlx::query!(
        r#"select w.host_id as "host: HostId", w.node_address as "address", w.revoked as "revoked"
           from ops.environment_whereabouts($1) w"#,
        environment.0
    )
    .fetch_optional(conn)
    .await?
    .ok_or(Error::not_found("environment"))?;
    match (row.host, row.address) {
        _ if row.revoked == Some(true) => Err(Error::unavailable("host.revoked")),
        (Some(host), Some(address)) => Ok(Some(Whereabouts { host, address })),
        _ => Ok(None),
    }
}
