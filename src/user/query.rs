use super::Me;
use crate::{
    Error, Result,
    id::{ApiTokenId, UserId},
};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// A person's own row, read as that person for the rest of the transaction: policies show it to nobody less.
pub async fn me_as(conn: &mut PgConnection, user: UserId) -> Result<Me> {
    sqlx::query_scalar!("select set_config('ops.user_id', $1, true)", user.to_string())
        .fetch_one(&mut *conn)
        .await?;
    me(conn, user).await
}

pub async fn me(conn: &mut PgConnection, user: UserId) -> Result<Me> {
    let row = sqlx::query!("select id, name, email, platform_admin from ops.users where id = $1", user.0)
        .fetch_one(conn)
        .await?;
    Ok(Me { id: UserId(row.id), name: row.name, email: row.email, platform_admin: row.platform_admin })
}

/// An API token as its owner sees it later: the secret is not kept.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Token {
    pub id: ApiTokenId,
    pub name: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Tokens that were not revoked, newest first.
pub async fn tokens(conn: &mut PgConnection, user: UserId) -> Result<Vec<Token>> {
    let tokens = sqlx::query_as!(
        Token,
        "select id, name, created_at, expires_at, last_used_at from ops.api_tokens
         where user_id = $1 and revoked_at is null order by created_at desc, id desc",
        user.0
    )
    .fetch_all(conn)
    .await?;
    Ok(tokens)
}

pub async fn revoke_token(conn: &mut PgConnection, user: UserId, token: ApiTokenId) -> Result<()> {
    let done = sqlx::query!(
        "update ops.api_tokens set revoked_at = now() where id = $1 and user_id = $2 and revoked_at is null",
        token.0,
        user.0
    )
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::not_found("token")) }
}
