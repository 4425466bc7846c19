//! The audit trail: who did what to what, from where, and what was refused. An act is written in the transaction of
//! the act itself, about the user whom it speaks for and the address that it came from. A refusal is written after it,
//! in a transaction of its own (`refusals`).

mod often;
mod refusals;
#[cfg(test)]
mod tests;

pub use refusals::{Refusal, Refusals, note_unseen_project, noting, noting_along};
pub(crate) use refusals::{note, note_push};

use crate::{Result, id::ProjectId};
use serde_json::Value;
use sqlx::PgConnection;

/// What was done, to which object.
pub struct Entry<'a> {
    pub action: &'a str,
    pub object_type: &'a str,
    pub object_id: String,
    pub project: Option<ProjectId>,
    pub detail: Value,
}

pub async fn record_in_txn(conn: &mut PgConnection, entry: Entry<'_>) -> Result<()> {
    sqlx::query!(
        r#"select ops.audit($1, $2, $3, $4, $5) as "done: ()""#,
        entry.project.map(|p| p.0),
        entry.action,
        entry.object_type,
        entry.object_id,
        entry.detail
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}
