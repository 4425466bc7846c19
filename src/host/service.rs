use super::{HostView, WorkerView, query};
use crate::{
    Result,
    access::{Action, Actor, authorise},
};
use sqlx::PgConnection;

pub async fn list(conn: &mut PgConnection, actor: &Actor) -> Result<Vec<HostView>> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    query::hosts(conn).await
}

pub async fn workers(conn: &mut PgConnection, actor: &Actor) -> Result<Vec<WorkerView>> {
    authorise(conn, actor, Action::AdministerPlatform).await?;
    query::workers(conn).await
}
