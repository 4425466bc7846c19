//! What a collector has in the database: a lease of one container's output, and the position up to which it is stored.

use super::{
    chunk::Batch,
    collector::{BACKOFF, CollectEnd, CollectError, Collector, Stop},
    position::Position,
};
use crate::{docker::DockerError, id::RunId};
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// A source under this collector's lease.
pub struct Source<'a> {
    collector: &'a Collector,
    run: RunId,
    container: &'a str,
    stream: &'a str,
    id: Uuid,
    lease: i64,
    pub position: Position,
}

impl<'a> Source<'a> {
    pub async fn open(
        collector: &'a Collector,
        run: RunId,
        container: &'a str,
        stream: &'a str,
    ) -> Result<Self, CollectError> {
        let (id, position) = (Uuid::nil(), Position::default());
        let mut source = Self { collector, run, container, stream, id, lease: 0, position };
        source.take_lease().await?;
        Ok(source)
    }

    /// Takes the lease, from another collector too, and the position that belongs to it.
    async fn take_lease(&mut self) -> Result<(), CollectError> {
        let mut wait = BACKOFF.0;
        loop {
            let taken = sqlx::query!(
                r#"select source_id as "id!", lease as "lease!", position as "position!: Value"
                   from ops.open_log_source($1, $2, $3, $4)"#,
                self.run.0,
                self.container,
                self.stream,
                self.collector.name
            )
            .fetch_one(&self.collector.pool)
            .await;
            match taken {
                Ok(row) => {
                    self.id = row.id;
                    self.lease = row.lease;
                    self.position = serde_json::from_value(row.position)
                        .map_err(|error| CollectError::Store(sqlx::Error::Decode(Box::new(error))))?;
                    return Ok(());
                }
                Err(error) if is_passing(&error) => wait = back_off(&error, wait).await,
                Err(error) => return Err(CollectError::Store(error)),
            }
        }
    }

    pub async fn close(self) -> Result<CollectEnd, CollectError> {
        let closed = sqlx::query_scalar!("select ops.close_log_source($1, $2)", self.id, self.lease)
            .fetch_one(&self.collector.pool)
            .await;
        if let Err(cause) = closed {
            // Everything is stored; the next one to open the source finds that out by itself.
            tracing::warn!(%cause, "collector: the source could not be closed");
        }
        Ok(CollectEnd::Finished)
    }

    /// Stores a batch and the position behind it. After a failure that leaves open whether it was stored, the
    /// position tells.
    pub async fn store(&mut self, batch: &Batch, next: Position) -> Result<(), Stop> {
        let failed = |error| Stop::Failed(CollectError::Store(error));
        let encoded =
            serde_json::to_value(next).map_err(|error| failed(sqlx::Error::Encode(Box::new(error))))?;
        let mut wait = BACKOFF.0;
        loop {
            let stored = sqlx::query_scalar!(
                "select ops.append_log_chunks($1, $2, $3, $4, $5, $6, $7, $8)",
                self.id,
                self.lease,
                &batch.bodies,
                &batch.marks,
                &batch.lines,
                &batch.first_at,
                &batch.offsets,
                encoded
            )
            .fetch_one(&self.collector.pool)
            .await;
            let error = match stored {
                Ok(_) => break,
                Err(error) => error,
            };
            match error.as_database_error().and_then(|error| error.code()).as_deref() {
                Some("55000") => return Err(Stop::End(CollectEnd::LeaseLost)),
                Some("54000") => return Err(Stop::End(CollectEnd::OutputLimit)),
                _ if !is_passing(&error) => return Err(failed(error)),
                _ => {}
            }
            wait = back_off(&error, wait).await;
            let before = self.position;
            self.take_lease().await.map_err(Stop::Failed)?;
            if self.position == next {
                break;
            }
            if self.position != before {
                // Somebody else read on meanwhile; these lines are theirs.
                return Err(Stop::Read(DockerError::Conflict("the source moved on".to_owned())));
            }
        }
        self.position = next;
        Ok(())
    }
}

/// Whether a database that refuses now may take the same statement later.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => true,
        // Connection lost, out of resources, shutdown and start, and conflicts of transactions.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                || code == "40001"
                || code == "40P01"
        }),
        _ => false,
    }
}

async fn back_off(cause: &sqlx::Error, wait: Duration) -> Duration {
    tracing::warn!(%cause, "collector: the ops database does not take lines");
    sleep(wait).await;
    (wait * 2).min(BACKOFF.1)
}
