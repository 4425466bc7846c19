//! Signing in and out, and who holds a session or a token. These run before anybody is known, so each is one call
//! of a SECURITY DEFINER function that takes nothing but fingerprints.

use super::{Fingerprint, Secret};
use crate::{
    Error, Result,
    id::{ApiTokenId, SessionId, UserId},
    user::{Me, query},
};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// A session's holder, None when it ended or never was.
pub async fn holder_of_session(
    conn: &mut PgConnection,
    session: Fingerprint,
) -> Result<Option<(Me, SessionId)>> {
    let row = sqlx::query!(
        r#"select user_id as "user_id!", name as "name!", email as "email!", platform_admin as "platform_admin!",
                  session_id as "session_id!"
           from ops.session_user_of($1)"#,
        session.as_bytes()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let me = Me {
            id: UserId(row.user_id),
            name: row.name,
            email: row.email,
            platform_admin: row.platform_admin,
        };
        (me, SessionId(row.session_id))
    }))
}

/// The holder of an API token, None when it was revoked, is too old or never was.
pub async fn holder_of_token(
    conn: &mut PgConnection,
    token: Fingerprint,
) -> Result<Option<(Me, ApiTokenId)>> {
    let row = sqlx::query!(
        r#"select user_id as "user_id!", token_id as "token_id!" from ops.token_user($1)"#,
        token.as_bytes()
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let me = query::me_as(conn, UserId(row.user_id)).await?;
    Ok(Some((me, ApiTokenId(row.token_id))))
}

/// The administrator whom the server's own socket acts as.
pub async fn platform_administrator(conn: &mut PgConnection) -> Result<Me> {
    let id =
        sqlx::query_scalar!(r#"select ops.platform_administrator() as "id!""#).fetch_one(&mut *conn).await?;
    query::me_as(conn, UserId(id)).await
}

/// A link that signs the administrator in, once, within 15 minutes. The caller acts as a platform administrator.
pub async fn create_login_link(conn: &mut PgConnection) -> Result<Secret> {
    let secret = Secret::new();
    let fingerprint = secret.fingerprint();
    sqlx::query_scalar!(r#"select ops.create_login_link($1) as "id!""#, fingerprint.as_bytes())
        .fetch_one(conn)
        .await
        .map_err(forbidden)?;
    Ok(secret)
}

/// Redeems a link for a new session. The session that the browser had before, if any, ends: ids are never kept
/// across a sign-in.
pub async fn sign_in(
    conn: &mut PgConnection,
    link: Fingerprint,
    before: Option<Fingerprint>,
    address: Option<&str>,
    agent: Option<&str>,
) -> Result<Secret> {
    let session = Secret::new();
    let fingerprint = session.fingerprint();
    let id = sqlx::query_scalar!(
        "select ops.create_session($1, $2, $3, $4)",
        link.as_bytes(),
        fingerprint.as_bytes(),
        address,
        agent
    )
    .fetch_one(&mut *conn)
    .await?;
    if id.is_none() {
        return Err(Error::forbidden("sign_in.link_spent"));
    }
    if let Some(before) = before {
        sign_out(conn, before).await?;
    }
    Ok(session)
}

/// Ends a session. One that ended already is fine.
pub async fn sign_out(conn: &mut PgConnection, session: Fingerprint) -> Result<()> {
    sqlx::query_scalar!("select ops.end_session($1)", session.as_bytes()).fetch_one(conn).await?;
    Ok(())
}

/// A token of the user whom the transaction acts as.
pub async fn create_token(
    conn: &mut PgConnection,
    name: &str,
    expires_at: Option<DateTime<Utc>>,
) -> Result<(ApiTokenId, Secret)> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 {
        return Err(Error::invalid("name", crate::Detail::new("token.name_length")));
    }
    let secret = Secret::token();
    let fingerprint = secret.fingerprint();
    let id = sqlx::query_scalar!(
        r#"select ops.create_api_token($1, $2, $3) as "id!""#,
        name,
        fingerprint.as_bytes(),
        expires_at
    )
    .fetch_one(conn)
    .await
    .map_err(forbidden)?;
    Ok((ApiTokenId(id), secret))
}

/// The functions refuse with 42501 what the user may not do.
fn forbidden(error: sqlx::Error) -> Error {
    match error.as_database_error().and_then(|e| e.code()).as_deref() {
        Some("42501") => Error::forbidden("access.forbidden"),
        _ => error.into(),
    }
}
