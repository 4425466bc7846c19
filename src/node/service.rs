//! What administrators decide about machines.

use crate::{
    Error, Result,
    access::{Action, Actor, authorise},
    audit,
    error::Detail,
    host::labels,
    id::HostId,
    session::Secret,
};
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;

/// A token that was just made; its text is shown once.
pub struct NewToken {
    pub text: Secret,
    pub expires_at: DateTime<Utc>,
}

/// Lets one machine join within an hour. With the name of a machine that joined before, that one joins again, with new
/// keys.
pub async fn create_token_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    name: Option<&str>,
    labels: &[String],
) -> Result<NewToken> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    if let Some(name) = name {
        checked_name(name)?;
    }
    let labels = labels::checked(labels)?;
    let text = Secret::token();
    let fingerprint = text.fingerprint();
    let expires_at = sqlx::query_scalar!(
        r#"select ops.create_host_token($1, $2, $3) as "expires_at!""#,
        fingerprint.as_bytes(),
        name,
        &labels
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(refused)?;
    let entry = audit::Entry {
        action: "host.token",
        object_type: "host",
        object_id: name.unwrap_or_default().to_owned(),
        project: None,
        detail: json!({ "labels": labels }),
    };
    audit::record_in_txn(conn, entry).await?;
    Ok(NewToken { text, expires_at })
}

/// Cuts a machine off: its certificate is refused from now on, its database login ended, its runs go back to the
/// queue. Until this commits its login still works: call [`end_sessions`] afterwards.
pub async fn revoke_in_txn(conn: &mut PgConnection, actor: &Actor, name: &str) -> Result<HostId> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    let host: HostId = sqlx::query_scalar!(r#"select ops.revoke_host($1) as "host!""#, name)
        .fetch_one(&mut *conn)
        .await
        .map_err(refused)?
        .into();
    let entry = audit::Entry {
        action: "host.revoke",
        object_type: "host",
        object_id: host.to_string(),
        project: None,
        detail: json!({ "name": name }),
    };
    audit::record_in_txn(conn, entry).await?;
    Ok(host)
}

/// Ends what a revoked machine opened between being revoked and that being committed.
pub async fn end_sessions(conn: &mut PgConnection, name: &str) -> Result<()> {
    sqlx::query_scalar!("select ops.revoke_host($1)", name).fetch_one(conn).await.map_err(refused)?;
    Ok(())
}

/// A machine's name is one that DNS could have.
pub fn checked_name(name: &str) -> Result<&str> {
    let label = |part: &str| !part.is_empty() && !part.starts_with('-') && !part.ends_with('-');
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let sound = name.len() <= 63 && name.bytes().all(known) && name.split('.').all(label);
    sound.then_some(name).ok_or_else(|| Error::invalid("name", Detail::new("host.name")))
}

/// The functions' refusals as people read them.
pub fn refused(error: sqlx::Error) -> Error {
    let Some(database) = error.as_database_error() else { return error.into() };
    match (database.constraint(), database.code().as_deref()) {
        (Some("host_token_unknown"), _) => Error::forbidden("host.token_unknown"),
        (Some("host_token_used"), _) => Error::conflict(Detail::new("host.token_used")),
        (Some("host_token_expired"), _) => Error::conflict(Detail::new("host.token_expired")),
        (Some("hosts_name_key"), _) => Error::conflict(Detail::new("host.name_taken")),
        (Some("hosts_node_address_form"), _) => Error::invalid("address", Detail::new("host.address")),
        (_, Some("55000")) => Error::conflict(Detail::new("host.own")),
        (_, Some("P0002")) => Error::not_found("host"),
        (_, Some("42501")) => Error::forbidden("access.platform_admin"),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::checked_name;

    #[test]
    fn names_are_plain() {
        for good in ["a", "node-2", "node2.example.com", &"a".repeat(63)] {
            assert!(checked_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a b", "a..b", ".a", "a'", "a/b", "\u{e9}", &"a".repeat(64)] {
            assert!(checked_name(bad).is_err(), "{bad}");
        }
    }
}
