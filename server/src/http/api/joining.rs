//! Machines that join the installation, and their end.

use super::{
    super::{Identity, Web},
    Problem, ProblemBody,
    extract::{Json, Path},
};
use axum::{Json as Answer, extract::State, http::StatusCode};
use odooops::{Error, host::Invitation, id::HostId, node::invite};
use serde::{Deserialize, Serialize};
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

/// Lets one machine join, once, within an hour.
#[utoipa::path(post, path = "/host-tokens", tag = "hosts", request_body = HostTokenRequest,
    responses((status = 201, body = Invitation), (status = 403, body = ProblemBody), (status = 409, body = ProblemBody),
        (status = 422, body = ProblemBody)))]
pub async fn create_token(
    State(web): State<Web>,
    identity: Identity,
    Json(request): Json<HostTokenRequest>,
) -> Result<(StatusCode, Answer<Invitation>), Problem> {
    let (mut txn, name) = (identity.begin(&web).await?, request.name.as_deref());
    let made = invite::invite_in_txn(&mut txn, &identity.actor(), &web.config, name, &request.labels).await?;
    txn.commit().await.map_err(Error::from)?;
    Ok((StatusCode::CREATED, Answer(made)))
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
    let id = invite::revoke(&web.pool, &identity.actor(), &host).await?;
    Ok(Answer(Revoked { id, name: host }))
}
