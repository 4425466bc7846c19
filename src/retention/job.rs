//! The job. It runs daily by a schedule that comes with the platform, and whenever somebody asks.

use serde::Serialize;
use sqlx::PgPool;
use std::time::Duration;

/// What one round did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Days that are gone, as the names of their partitions.
    pub dropped: Vec<String>,
    /// Default partitions from which expired rows were taken.
    pub emptied: Vec<String>,
    /// Partitions made for the coming days.
    pub made: i32,
    pub sessions: i64,
    pub login_links: i64,
    pub host_tokens: i64,
    pub schedule_runs: i64,
    /// Chunks of logs that were looked at, and merged where they were small.
    pub chunks: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error("{} could not be locked: somebody reads for long. It is tried again the next time.", .tables.join(", "))]
    Busy { tables: Vec<String>, done: Outcome },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// How often what is busy is tried again. No try waits for a lock longer than half a second, since all who write to
/// the table would wait behind it.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub tries: u32,
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 40, pause: Duration::from_secs(15) }
    }
}

/// One round. May be stopped at any instruction: each call is a transaction, and what is gone stays gone.
pub async fn run(pool: &PgPool, patience: Patience) -> Result<Outcome, RetentionError> {
    let made = sqlx::query_scalar!(r#"select ops.ensure_partitions() as "made!""#).fetch_one(pool).await?;
    let mut done = Outcome { made, ..Outcome::default() };
    let credentials = sqlx::query!(
        r#"select sessions as "sessions!", login_links as "login_links!", host_tokens as "host_tokens!"
           from ops.remove_expired_credentials()"#
    )
    .fetch_one(pool)
    .await?;
    (done.sessions, done.login_links) = (credentials.sessions, credentials.login_links);
    done.host_tokens = credentials.host_tokens;
    done.schedule_runs = sqlx::query_scalar!(r#"select ops.remove_expired_schedule_runs() as "removed!""#)
        .fetch_one(pool)
        .await?;
    loop {
        // Some at a time: who appends to one of these logs waits for the end of the call.
        let chunks =
            sqlx::query_scalar!(r#"select ops.merge_log_chunks() as "chunks!""#).fetch_one(pool).await?;
        if chunks == 0 {
            break;
        }
        done.chunks += i64::from(chunks);
    }
    // Last: it may have to be given up.
    for tried in 1.. {
        let busy = drop_expired(pool, &mut done).await?;
        if busy.is_empty() {
            break;
        }
        if tried >= patience.tries {
            return Err(RetentionError::Busy { tables: busy, done });
        }
        tracing::info!(tables = ?busy, "what has expired is being read; trying again");
        tokio::time::sleep(patience.pause).await;
    }
    Ok(done)
}

/// What was busy.
async fn drop_expired(pool: &PgPool, done: &mut Outcome) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select partition as "partition!", outcome as "outcome!" from ops.drop_expired_partitions()"#
    )
    .fetch_all(pool)
    .await?;
    let mut busy = Vec::new();
    for row in rows {
        match row.outcome.as_str() {
            "dropped" => done.dropped.push(row.partition),
            "emptied" => done.emptied.push(row.partition),
            _ => busy.push(row.partition),
        }
    }
    Ok(busy)
}
