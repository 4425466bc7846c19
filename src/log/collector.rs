//! Follows a container's output into `ops.run_logs`.
//!
//! What a container prints, the daemon keeps in a file; this reads it with `docker logs`, splits it into lines
//! ([`super::split`]) and stores them in batches. Lines and position ([`super::position`]) go in one transaction,
//! fenced by the source's lease, so a collector may be killed at any instruction: whoever opens the source next
//! reads on exactly behind the last stored line, and the one that lost the lease can store nothing more.
//!
//! Nothing is dropped and nothing is buffered beyond three batches (one is stored, one waits, one is filled): while
//! PostgreSQL is slow or away, nothing is read, and the daemon's file waits. The container itself never waits for us.
//!
//! The two streams are split apart and stored in the order in which the daemon gives them. Of a line above
//! [`super::MAX_LINE`], each part but the last is flagged; a line of the other stream may come between two parts.

use super::{
    chunk::{Batch, Collected},
    reader::{self, Read},
    source::Source,
};
use crate::{
    docker::{ContainerStatus, Docker, DockerError},
    id::RunId,
    run::LogLevel,
};
use sqlx::PgPool;
use std::time::{Duration, SystemTime};
use tokio::{sync::mpsc, time::sleep};

pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Reads of an ended container's log that may fail in a row before it is given up.
const READ_ATTEMPTS: u32 = 5;

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
    /// The daemon answers, and breaks off an ended container's log again and again.
    #[error("{0}")]
    Unreadable(#[source] DockerError),
    /// Something that trying again will not change; a database that is away is waited for.
    #[error("the log cannot be stored: {0}")]
    Store(#[source] sqlx::Error),
    #[error("docker sent a log that cannot be read")]
    Frame,
}

/// Reads containers' output on behalf of one worker.
#[derive(Clone)]
pub struct Collector {
    pub(super) pool: PgPool,
    pub(super) docker: Docker,
    pub(super) name: String,
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
        mut tap: impl FnMut(Collected<'_>) + Send,
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
            match self.read(&mut source, container, ended, &level_of, &mut tap).await {
                Ok(()) if ended => return source.close().await,
                // The container has just ended, or the daemon is going down: look again.
                Ok(()) => failures = 0,
                Err(Stop::End(end)) => return Ok(end),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Read(error)) => {
                    failures = if source.position == before { failures + 1 } else { 1 };
                    tracing::warn!(%error, container, "collector: the log broke off");
                    if ended && failures >= READ_ATTEMPTS && self.docker.takes_calls().await.is_ok() {
                        return Err(CollectError::Unreadable(error));
                    }
                    sleep((BACKOFF.0 * failures).min(BACKOFF.1)).await;
                }
            }
        }
    }

    /// Says in the log that no more of this output can be read, and why.
    pub async fn give_up(
        &self,
        run: RunId,
        container: &str,
        stream: &str,
        cause: &str,
    ) -> Result<CollectEnd, CollectError> {
        let mut source = Source::open(self, run, container, stream).await?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut batch = Batch::default();
        let text = format!("The rest of what was printed here cannot be read: {cause}");
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        batch.add(LogLevel::Error, &text, false, i64::try_from(now.as_nanos()).unwrap_or_default());
        match source.store(&batch, source.position).await {
            Ok(()) => source.close().await,
            Err(Stop::End(end)) => Ok(end),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Read(error)) => Err(error.into()),
        }
    }

    /// Reads from the position to the end of the log, which is final when the container had ended before. The next
    /// batch is read while one is stored.
    async fn read(
        &self,
        source: &mut Source<'_>,
        container: &str,
        ended: bool,
        level_of: &(impl Fn(&str) -> LogLevel + Send),
        tap: &mut (impl FnMut(Collected<'_>) + Send),
    ) -> Result<(), Stop> {
        let (full, mut batches) = mpsc::channel(1);
        let read = Read { docker: &self.docker, container, from: source.position, ended };
        let reading = reader::read(read, level_of, full);
        let storing = async move {
            while let Some((batch, position)) = batches.recv().await {
                source.store(&batch, position).await?;
                batch.lines().for_each(&mut *tap);
            }
            Ok(())
        };
        let (read, stored) = tokio::join!(reading, storing);
        stored.and(read)
    }
}

/// Why reading stopped before the log's end.
pub(super) enum Stop {
    End(CollectEnd),
    Failed(CollectError),
    /// Worth trying again from the stored position.
    Read(DockerError),
}
