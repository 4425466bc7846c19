//! What a container printed and nobody had read when its time was over: it is ended, read to its end, and only then
//! removed. Who waits for that waits as long as it may; the reading goes on without.

use super::{super::JobError, Collectors};
use crate::{
    docker::{Container, ContainerStatus, names},
    id::RunId,
    log::collector::{CollectEnd, CollectError},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

/// How reading went, once it has.
type Outcome = Option<Result<(), String>>;

pub(super) struct Reading {
    task: JoinHandle<()>,
    outcome: watch::Receiver<Outcome>,
    /// Nobody waits any more: the reconciler is told when it is done.
    left: Arc<AtomicBool>,
}

impl Collectors {
    /// Kills a container, stores what it printed to the end, then removes it. False: at `until` that end was not
    /// reached; it stays where it is, does nothing any more, and is read on meanwhile.
    pub async fn let_go(&self, container: &Container, until: Instant) -> Result<bool, JobError> {
        let docker = &self.shop.docker;
        docker.kill_container(&container.id).await?;
        if !self.read_to_end(container, until).await? {
            tracing::info!(container = %container.name, "it is removed when all that it printed is stored");
            return Ok(false);
        }
        docker.remove_container(&container.id).await?;
        Ok(true)
    }

    /// Whether the output of an ended container is being stored just now.
    pub fn is_reading(&self, container: &str) -> bool {
        self.ended().get(container).is_some_and(|reading| reading.outcome.borrow().is_none())
    }

    async fn read_to_end(&self, container: &Container, until: Instant) -> Result<bool, JobError> {
        let (Some(run), Some(stream)) = (container.labels.run, names::stream(&container.name)) else {
            return Ok(true);
        };
        match self.shop.docker.container(&container.id).await? {
            // It never ran, or is gone.
            None | Some(Container { status: ContainerStatus::Created, .. }) => return Ok(true),
            Some(_) => {}
        }
        let (mut outcome, left) = self.begin(run, &container.id, stream);
        // Cloned, so that nothing of it is held on to.
        let waited = timeout_at(until, outcome.wait_for(Option::is_some)).await.map(|read| match read {
            Ok(read) => read.clone(),
            Err(_) => Some(Err("reading a container's output was broken off".to_owned())),
        });
        let Ok(read) = waited else {
            left.store(true, Ordering::SeqCst);
            // It may have ended since.
            if outcome.borrow().is_some() {
                self.shop.changed.notify_one();
            }
            return Ok(false);
        };
        self.ended().remove(&container.id);
        match read {
            Some(Err(cause)) => Err(JobError::retry(cause)),
            _ => Ok(true),
        }
    }

    /// Once for each container, however many wait for it.
    fn begin(
        &self,
        run: RunId,
        container: &str,
        stream: &'static str,
    ) -> (watch::Receiver<Outcome>, Arc<AtomicBool>) {
        let mut ended = self.ended();
        if let Some(reading) = ended.get(container) {
            return (reading.outcome.clone(), reading.left.clone());
        }
        let (tell, outcome) = watch::channel(None);
        let left = Arc::new(AtomicBool::new(false));
        let (this, id, is_left) = (self.clone(), container.to_owned(), left.clone());
        let task = tokio::spawn(async move {
            let read = this.last_words(run, &id, stream).await;
            tell.send_replace(Some(read));
            if is_left.load(Ordering::SeqCst) {
                this.shop.changed.notify_one();
            }
        });
        ended.insert(container.to_owned(), Reading { task, outcome: outcome.clone(), left: left.clone() });
        (outcome, left)
    }

    async fn last_words(&self, run: RunId, container: &str, stream: &str) -> Result<(), String> {
        // Closed: never.
        let _turn = self.turns.acquire().await;
        let server = self.servers().remove(container);
        if let Some(task) = server {
            // It would find its lease taken.
            task.abort();
            let _ = task.await;
        }
        match self.read(run, container, stream, |_| ()).await {
            Ok(CollectEnd::Finished) => Ok(()),
            Ok(CollectEnd::OutputLimit) => {
                tracing::warn!(%run, container, "it printed more than its run may store");
                Ok(())
            }
            Ok(CollectEnd::LeaseLost) => Err("somebody else collects a container's output".to_owned()),
            Err(cause @ (CollectError::Unreadable(_) | CollectError::Frame)) => {
                tracing::error!(%run, container, %cause, "what it printed cannot be read");
                let told = self.collector().give_up(run, container, stream, &cause.to_string()).await;
                told.map(drop).map_err(|error| error.to_string())
            }
            Err(CollectError::Store(sqlx::Error::Database(error))) if error.is_foreign_key_violation() => {
                tracing::warn!(%run, container, "the ops database does not know the run that printed this");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn drain_ended(&self) -> Vec<JoinHandle<()>> {
        self.ended().drain().map(|(_, reading)| reading.task).collect()
    }

    fn ended(&self) -> MutexGuard<'_, HashMap<String, Reading>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
