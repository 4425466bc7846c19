//! Machines that join the installation, and their end.

use super::{
    super::{Identity, Web},
    Problem, ProblemBody,
    extract::{Json, Path},
};
use axum::{Json as Answer, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use odooops::{
    Error,
    config::Config,
    error::Detail,
    id::{HostId, InstallationId},
    node::{Authority, Fingerprint, service},
};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use utoipa::ToSchema;

#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct HostTokenRequest {
    /// The host's name; the machine says its own, when left out. That of a host that joined before lets it join again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What runs may require of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// What the other machine is told. Shown once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    pub token: String,
    pub expires_at: DateTime<Utc>,
    /// Where it joins.
    pub url: String,
    /// SHA-256 of the certificate of this installation's authority, by which it knows that it is talking to us.
    pub ca_fingerprint: String,
}

/// Lets one machine join, once, within an hour.
#[utoipa::path(post, path = "/host-tokens", tag = "hosts", request_body = HostTokenRequest,
    responses((status = 201, body = Invitation), (status = 403, body = ProblemBody), (status = 409, body = ProblemBody),
        (status = 422, body = ProblemBody)))]
pub async fn create_token(
    State(web): State<Web>,
    identity: Identity,
    Json(request): Json<HostTokenRequest>,
) -> Result<(StatusCode, Answer<Invitation>), Problem> {
    let mut txn = identity.begin(&web).await?;
    let (name, labels) = (request.name.as_deref(), &request.labels);
    let made = service::create_token_in_txn(&mut txn, &identity.actor(), name, labels).await?;
    let listen = web.config.node_listen.ok_or_else(|| Error::conflict(Detail::new("host.no_listener")))?;
    let installation: InstallationId = odooops::node::query::installation(&mut txn).await?;
    let authority = Authority::load_or_create(&web.config, installation).map_err(Error::internal)?;
    let keys = authority.own().map_err(Error::internal)?;
    txn.commit().await.map_err(Error::from)?;
    let invitation = Invitation {
        token: made.text.expose().to_owned(),
        expires_at: made.expires_at,
        url: url(&web.config, listen),
        ca_fingerprint: Fingerprint::of_certificate(&keys.authority).to_string(),
    };
    Ok((StatusCode::CREATED, Answer(invitation)))
}

/// The address as other machines see it: the console's name, unless the listener is bound to one address.
fn url(config: &Config, listen: SocketAddr) -> String {
    if !listen.ip().is_unspecified() {
        return format!("https://{listen}");
    }
    let host = config.base_domain.split(':').next().unwrap_or_default();
    format!("https://{host}:{}", listen.port())
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Revoked {
    pub id: HostId,
    pub name: String,
}

/// Cuts a machine off: its certificate and its database login end, its runs go back to the queue.
#[utoipa::path(post, path = "/hosts/{host}/revoke", tag = "hosts",
    params(("host" = String, Path, description = "name")),
    responses((status = 200, body = Revoked), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody)))]
pub async fn revoke(
    State(web): State<Web>,
    identity: Identity,
    Path(host): Path<String>,
) -> Result<Answer<Revoked>, Problem> {
    let mut txn = identity.begin(&web).await?;
    let id = service::revoke_in_txn(&mut txn, &identity.actor(), &host).await?;
    txn.commit().await.map_err(Error::from)?;
    let mut txn = identity.begin(&web).await?;
    service::end_sessions(&mut txn, &host).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok(Answer(Revoked { id, name: host }))
}
