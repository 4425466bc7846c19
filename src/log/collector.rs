//! Follows a container's output into `ops.run_logs`.
//!
//! What a container prints, the daemon keeps in a file; this reads it with `docker logs`, splits it into lines
//! ([`super::split`]) and stores them in batches. Lines and position ([`super::position`]) go in one transaction,
//! fenced by the source's lease, so a collector may be killed at any instruction: whoever opens the source next
//! reads on exactly behind the last stored line, and the one that lost the lease can store nothing more.
//!
//! Nothing is dropped and nothing is buffered beyond one batch: while PostgreSQL is slow or away, nothing is read,
//! and the daemon's file waits. The container itself never waits for us.
//!
//! The two streams are split apart and stored in the order in which the daemon gives them. Of a line above
//! [`super::MAX_LINE`], each part but the last is flagged; a line of the other stream may come between two parts.

use super::position::{Cursor, Piece, Position, position};
use crate::{
    docker::{ContainerStatus, Docker, DockerError},
    id::RunId,
    run::LogLevel,
};
use bollard::{container::LogOutput, query_parameters::LogsOptions};
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt};
use serde_json::Value;
use sqlx::PgPool;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

/// How long a line may wait for others to share its transaction.
const LINGER: Duration = Duration::from_millis(75);
const BATCH_LINES: usize = 5_000;
const BATCH_BYTES: usize = 2 * 1024 * 1024;
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Reads of an ended container's log that may fail in a row before it is given up.
const READ_ATTEMPTS: u32 = 5;

/// A line that has been stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    pub level: LogLevel,
    pub message: String,
    /// More of the same line follows.
    pub continued: bool,
    pub at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectEnd {
    /// The container has ended (or is gone), and all that it printed is stored.
    Finished,
    /// Another collector took over.
    LeaseLost,
    /// The run printed more than it may; what fits is stored.
    OutputLimit,
}

#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// Something that trying again will not change; a database that is away is waited for.
    #[error("the log cannot be stored: {0}")]
    Store(#[source] sqlx::Error),
    #[error("docker sent a log that cannot be read")]
    Frame,
}

/// Reads containers' output on behalf of one worker.
#[derive(Clone)]
pub struct Collector {
    pool: PgPool,
    docker: Docker,
    name: String,
}

impl Collector {
    /// `name` says in `ops.log_sources` who reads: the worker's id.
    pub fn new(pool: PgPool, docker: Docker, name: impl Into<String>) -> Self {
        Self { pool, docker, name: name.into() }
    }

    /// Stores what the container prints, from where the last collector stopped to the container's end, as lines of
    /// `run` in `stream`. `level_of` judges each line (parts of a long line have the level of the first); `tap` gets
    /// each line once it is stored, in order. Dropping the future stops collecting and loses nothing.
    pub async fn follow(
        &self,
        run: RunId,
        container: &str,
        stream: &str,
        level_of: impl Fn(&str) -> LogLevel + Send,
        mut tap: impl FnMut(Collected) + Send,
    ) -> Result<CollectEnd, CollectError> {
        let mut source = Source::open(self, run, container, stream).await?;
        let mut failures = 0;
        loop {
            let status = self.docker.container(container).await.map(|found| found.map(|found| found.status));
            let ended = match status {
                Ok(Some(ContainerStatus::Created)) => {
                    sleep(BACKOFF.0).await;
                    continue;
                }
                Ok(Some(ContainerStatus::Running)) => false,
                Ok(Some(ContainerStatus::Exited)) => true,
                Ok(None) => return source.close().await,
                Err(DockerError::Unavailable(cause)) => {
                    tracing::warn!(%cause, "collector: docker does not answer");
                    sleep(BACKOFF.1).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let before = source.position;
            match source.read(ended, &level_of, &mut tap).await {
                Ok(()) if ended => return source.close().await,
                // The container has just ended, or the daemon is going down: look again.
                Ok(()) => failures = 0,
                Err(Stop::End(end)) => return Ok(end),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Read(error)) => {
                    failures = if source.position == before { failures + 1 } else { 1 };
                    tracing::warn!(%error, container, "collector: the log broke off");
                    if ended && failures >= READ_ATTEMPTS {
                        return Err(error.into());
                    }
                    sleep((BACKOFF.0 * failures).min(BACKOFF.1)).await;
                }
            }
        }
    }
}

/// Why reading stopped before the log's end.
enum Stop {
    End(CollectEnd),
    Failed(CollectError),
    /// Worth trying again from the stored position.
    Read(DockerError),
}

/// A source under this collector's lease.
struct Source<'a> {
    collector: &'a Collector,
    run: RunId,
    container: &'a str,
    stream: &'a str,
    id: Uuid,
    lease: i64,
    position: Position,
}

/// Lines that go into one transaction, by column.
#[derive(Default)]
struct Batch {
    levels: Vec<LogLevel>,
    messages: Vec<String>,
    continued: Vec<bool>,
    times: Vec<DateTime<Utc>>,
    bytes: usize,
}

impl<'a> Source<'a> {
    async fn open(
        collector: &'a Collector,
        run: RunId,
        container: &'a str,
        stream: &'a str,
    ) -> Result<Self, CollectError> {
        let mut source = Self {
            collector,
            run,
            container,
            stream,
            id: Uuid::nil(),
            lease: 0,
            position: Position::default(),
        };
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

    async fn close(self) -> Result<CollectEnd, CollectError> {
        let closed = sqlx::query_scalar!("select ops.close_log_source($1, $2)", self.id, self.lease)
            .fetch_one(&self.collector.pool)
            .await;
        if let Err(cause) = closed {
            // Everything is stored; the next one to open the source finds that out by itself.
            tracing::warn!(%cause, "collector: the source could not be closed");
        }
        Ok(CollectEnd::Finished)
    }

    /// Reads from the position to the end of the log, which is final when the container had ended before.
    async fn read(
        &mut self,
        ended: bool,
        level_of: &(impl Fn(&str) -> LogLevel + Send),
        tap: &mut (impl FnMut(Collected) + Send),
    ) -> Result<(), Stop> {
        let from = self.position;
        let mut frames = self.frames(from, !ended);
        let mut stdout = Cursor::new(from.stdout, from.since);
        let mut stderr = Cursor::new(from.stderr, from.since);
        let (mut batch, mut newest, mut deadline) = (Batch::default(), 0, Instant::now());
        loop {
            let next = match batch.messages.is_empty() {
                true => Ok(frames.next().await),
                false => timeout_at(deadline, frames.next()).await,
            };
            let was_empty = batch.messages.is_empty();
            let (flush, stop) = match next {
                Ok(Some(Ok(frame))) => {
                    let cursor = if frame.stderr { &mut stderr } else { &mut stdout };
                    cursor.push(frame.nanos, &frame.payload, |piece| batch.add(piece, level_of));
                    newest = frame.nanos;
                    (batch.is_full(), None)
                }
                Ok(Some(Err(stop))) => (true, Some(Err(stop))),
                Ok(None) => {
                    if ended {
                        stdout.finish(|piece| batch.add(piece, level_of));
                        stderr.finish(|piece| batch.add(piece, level_of));
                    }
                    (true, Some(Ok(())))
                }
                Err(_linger) => (true, None),
            };
            if was_empty {
                deadline = Instant::now() + LINGER;
            }
            if flush && !batch.messages.is_empty() {
                let next = position(&stdout, &stderr, newest);
                self.store(std::mem::take(&mut batch), next, tap).await?;
            }
            if let Some(result) = stop {
                return result;
            }
        }
    }

    /// Stores a batch. After a failure that leaves open whether it was stored, the position tells.
    async fn store(
        &mut self,
        batch: Batch,
        next: Position,
        tap: &mut (impl FnMut(Collected) + Send),
    ) -> Result<(), Stop> {
        let failed = |error| Stop::Failed(CollectError::Store(error));
        let encoded =
            serde_json::to_value(next).map_err(|error| failed(sqlx::Error::Encode(Box::new(error))))?;
        let levels: Vec<&str> = batch.levels.iter().map(|level| level.as_str()).collect();
        let mut wait = BACKOFF.0;
        loop {
            let stored = sqlx::query_scalar!(
                "select ops.append_log_batch($1, $2, $3, $4, $5, $6, $7)",
                self.id,
                self.lease,
                &levels as &[&str],
                &batch.messages,
                &batch.continued,
                &batch.times,
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
        batch.drain(tap);
        Ok(())
    }

    fn frames(
        &self,
        from: Position,
        follow: bool,
    ) -> impl Stream<Item = Result<Frame, Stop>> + Unpin + use<> {
        let options = LogsOptions {
            follow,
            stdout: true,
            stderr: true,
            timestamps: true,
            since: i32::try_from(from.since).unwrap_or_default(),
            ..Default::default()
        };
        self.collector
            .docker
            .client()
            .logs(self.container, Some(options))
            .map(|output| match output {
                Ok(LogOutput::StdOut { message }) => Frame::parse(false, message),
                Ok(LogOutput::StdErr { message }) => Frame::parse(true, message),
                Ok(LogOutput::StdIn { .. }) => Err(Stop::Failed(CollectError::Frame)),
                // Either a message of the daemon's in place of the log, or the torn end of a lost connection.
                Ok(LogOutput::Console { message }) => Err(Stop::Read(DockerError::Unavailable(
                    String::from_utf8_lossy(&message).chars().take(200).collect(),
                ))),
                Err(error) => Err(Stop::Read(error.into())),
            })
            .boxed()
    }
}

struct Frame {
    stderr: bool,
    nanos: i64,
    payload: bytes::Bytes,
}

impl Frame {
    fn parse(stderr: bool, message: bytes::Bytes) -> Result<Self, Stop> {
        let broken = || Stop::Failed(CollectError::Frame);
        let end = message.iter().take(64).position(|byte| *byte == b' ').ok_or_else(broken)?;
        let time = std::str::from_utf8(&message[..end]).map_err(|_| broken())?;
        let time = DateTime::parse_from_rfc3339(time).map_err(|_| broken())?;
        let nanos = time.timestamp_nanos_opt().ok_or_else(broken)?;
        Ok(Self { stderr, nanos, payload: message.slice(end + 1..) })
    }
}

impl Batch {
    fn add(&mut self, piece: Piece, level_of: &impl Fn(&str) -> LogLevel) -> LogLevel {
        let (level, text, continued, nanos) = match piece {
            Piece::Line { text, open, continued, nanos } => {
                (open.unwrap_or_else(|| level_of(&text)), text, continued, nanos)
            }
            Piece::Lost { nanos } => {
                let text =
                    "Output is missing here: the container's log was rotated while it was not being read.";
                (LogLevel::Warn, text.to_owned(), false, nanos)
            }
        };
        self.bytes += text.len();
        self.levels.push(level);
        self.messages.push(text);
        self.continued.push(continued);
        self.times.push(DateTime::from_timestamp_nanos(nanos));
        level
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= BATCH_LINES || self.bytes >= BATCH_BYTES
    }

    fn drain(self, tap: &mut impl FnMut(Collected)) {
        let columns = self.levels.into_iter().zip(self.messages).zip(self.continued).zip(self.times);
        for (((level, message), continued), at) in columns {
            tap(Collected { level, message, continued, at });
        }
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
