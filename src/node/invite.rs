//! What another machine is told so that it can join.

use super::{Authority, Fingerprint, query, service};
use crate::{
    Error, Result,
    access::{Actor, begin_as},
    config::Config,
    error::Detail,
    host::Invitation,
    id::HostId,
};
use sqlx::{PgConnection, PgPool};
use std::net::SocketAddr;

/// Lets one machine join, once, within an hour. Without a listener a token would be of no use.
pub async fn invite_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    config: &Config,
    name: Option<&str>,
    labels: &[String],
) -> Result<Invitation> {
    let made = service::create_token_in_txn(conn, actor, name, labels).await?;
    let listen = config.node_listen.ok_or_else(|| Error::conflict(Detail::new("host.no_listener")))?;
    let installation = query::installation(conn).await?;
    let authority = Authority::load_or_create(config, installation).map_err(Error::internal)?;
    let keys = authority.own().map_err(Error::internal)?;
    Ok(Invitation {
        token: made.text.expose().to_owned(),
        expires_at: made.expires_at,
        url: url(config, listen),
        ca_fingerprint: Fingerprint::of_certificate(&keys.authority).to_string(),
    })
}

/// The address as other machines see it: the console's name, unless the listener is bound to one address.
fn url(config: &Config, listen: SocketAddr) -> String {
    if !listen.ip().is_unspecified() {
        return format!("https://{listen}");
    }
    let host = config.base_domain.split(':').next().unwrap_or_default();
    format!("https://{host}:{}", listen.port())
}

/// Cuts a machine off, and then ends what it opened while that was being committed.
pub async fn revoke(pool: &PgPool, actor: &Actor, name: &str) -> Result<HostId> {
    let mut txn = begin_as(pool, actor).await?;
    let id = service::revoke_in_txn(&mut txn, actor, name).await?;
    txn.commit().await?;
    let mut txn = begin_as(pool, actor).await?;
    service::end_sessions(&mut txn, name).await?;
    txn.commit().await?;
    Ok(id)
}
