use super::{Status, query};
use crate::{
    Result,
    access::{Action, Actor, authorise},
};
use sqlx::PgConnection;

pub async fn status(conn: &mut PgConnection, actor: &Actor) -> Result<Status> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    query::status(conn).await
}
