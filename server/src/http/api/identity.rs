//! Who one is, sign-in links and tokens.

use super::{
    super::{Identity, Web},
    Problem, ProblemBody,
    extract::{Json, Path},
};
use axum::{Json as Answer, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use odooops::{
    access::{Action, authorise},
    audit,
    id::ApiTokenId,
    session::service,
    user::{Me, query},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who the token belongs to.
#[utoipa::path(get, path = "/whoami", tag = "identity", responses((status = 200, body = Me), (status = 401, body = ProblemBody)))]
pub async fn whoami(identity: Identity) -> Answer<Me> {
    Answer(identity.me)
}

/// Shown once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LoginLink {
    pub url: String,
    pub valid_for_seconds: u32,
}

/// A link that signs the administrator in, once.
#[utoipa::path(post, path = "/login-links", tag = "identity", responses((status = 201, body = LoginLink), (status = 403, body = ProblemBody)))]
pub async fn create_login_link(
    State(web): State<Web>,
    identity: Identity,
) -> Result<(StatusCode, Answer<LoginLink>), Problem> {
    let mut txn = identity.begin(&web).await?;
    authorise(&mut txn, &identity.actor(), Action::AdministerPlatform).await?;
    let secret = service::create_login_link(&mut txn).await?;
    txn.commit().await.map_err(odooops::Error::from)?;
    let url = format!("{}/sign-in?token={}", web.site.public_url, secret.expose());
    Ok((StatusCode::CREATED, Answer(LoginLink { url, valid_for_seconds: 15 * 60 })))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// Never, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// Shown once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    pub id: ApiTokenId,
    pub token: String,
}

/// A token that acts as its maker, for the API and as git's password.
#[utoipa::path(post, path = "/tokens", tag = "identity", request_body = NewToken,
    responses((status = 201, body = CreatedToken), (status = 401, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn create_token(
    State(web): State<Web>,
    identity: Identity,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, Answer<CreatedToken>), Problem> {
    let mut txn = identity.begin(&web).await?;
    let (id, secret) = service::create_token(&mut txn, &new.name, new.expires_at).await?;
    let entry = audit::Entry {
        action: "token.create",
        object_type: "token",
        object_id: id.to_string(),
        project: None,
        detail: serde_json::json!({ "name": new.name.trim(), "expires_at": new.expires_at }),
    };
    audit::record_in_txn(&mut txn, entry).await?;
    txn.commit().await.map_err(odooops::Error::from)?;
    Ok((StatusCode::CREATED, Answer(CreatedToken { id, token: secret.expose().to_owned() })))
}

/// One's own tokens, without their secrets.
#[utoipa::path(get, path = "/tokens", tag = "identity", responses((status = 200, body = Vec<query::Token>), (status = 401, body = ProblemBody)))]
pub async fn list_tokens(
    State(web): State<Web>,
    identity: Identity,
) -> Result<Answer<Vec<query::Token>>, Problem> {
    let mut txn = identity.begin(&web).await?;
    Ok(Answer(query::tokens(&mut txn, identity.me.id).await?))
}

/// Ends one of one's own tokens.
#[utoipa::path(delete, path = "/tokens/{token}", tag = "identity", params(("token" = ApiTokenId, Path)),
    responses((status = 204), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
pub async fn revoke_token(
    State(web): State<Web>,
    identity: Identity,
    Path(token): Path<ApiTokenId>,
) -> Result<StatusCode, Problem> {
    let mut txn = identity.begin(&web).await?;
    query::revoke_token(&mut txn, identity.me.id, token).await?;
    let entry = audit::Entry {
        action: "token.revoke",
        object_type: "token",
        object_id: token.to_string(),
        project: None,
        detail: serde_json::json!({}),
    };
    audit::record_in_txn(&mut txn, entry).await?;
    txn.commit().await.map_err(odooops::Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}
