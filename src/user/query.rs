use super::Me;
use crate::{Result, id::UserId};
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
