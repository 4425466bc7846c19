//! Who reads which container's output: one collector per container, of builds while they run, of servers as long as
//! they live, and of what ended before it was read, until it is.

mod ended;

use super::{JobError, Workshop};
use crate::{
    id::RunId,
    log::collector::{CollectEnd, CollectError, Collector},
    odoo::level_of,
    run::LogLevel,
};
use ended::Reading;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinHandle};

/// Servers whose output one worker collects: each holds a connection to Docker and now and then one to PostgreSQL.
const MOST: usize = 1000;
/// Containers that ended and are read at the same time.
const MOST_ENDED: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Collectors {
    shop: Workshop,
    servers: Arc<Mutex<HashMap<String, JoinHandle<()>>>>,
    /// By the container that ended.
    ended: Arc<Mutex<HashMap<String, Reading>>>,
    turns: Arc<Semaphore>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The container ended and its last line is stored.
    Complete,
    OutputLimit,
}

impl Collectors {
    pub fn new(shop: Workshop) -> Self {
        let turns = Arc::new(Semaphore::new(MOST_ENDED));
        Self { shop, servers: Arc::default(), ended: Arc::default(), turns }
    }

    /// Stores a container's output until it ends; `tap` sees each line once it is stored.
    pub async fn collect(
        &self,
        run: RunId,
        container: &str,
        stream: &str,
        tap: impl FnMut(&str) + Send,
    ) -> Result<Ended, JobError> {
        match self.read(run, container, stream, tap).await {
            Ok(CollectEnd::Finished) => Ok(Ended::Complete),
            Ok(CollectEnd::OutputLimit) => Ok(Ended::OutputLimit),
            Ok(CollectEnd::LeaseLost) => Err(JobError::Lost),
            Err(error) => Err(JobError::retry(error)),
        }
    }

    async fn read(
        &self,
        run: RunId,
        container: &str,
        stream: &str,
        mut tap: impl FnMut(&str) + Send,
    ) -> Result<CollectEnd, CollectError> {
        self.collector().follow(run, container, stream, levels(), |line| tap(line.message)).await
    }

    fn collector(&self) -> Collector {
        let shop = &self.shop;
        Collector::new(shop.pool.clone(), shop.docker.clone(), shop.name.clone())
    }

    /// Stores a server's output from now on, unless somebody here does already. False: there are too many.
    pub fn follow(&self, run: RunId, container: &str) -> bool {
        let mut servers = self.servers();
        servers.retain(|_, task| !task.is_finished());
        if servers.contains_key(container) {
            return true;
        }
        if servers.len() >= MOST {
            return false;
        }
        let (this, id) = (self.clone(), container.to_owned());
        let task = tokio::spawn(async move { this.keep_collecting(run, &id).await });
        servers.insert(container.to_owned(), task);
        true
    }

    /// Until the container ends, or another collector takes over. Who panics is found missing by the reconciler.
    async fn keep_collecting(&self, run: RunId, container: &str) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            match self.collect(run, container, "odoo", |_| ()).await {
                Ok(_) => return,
                // Taking the lease back would go on for ever between two.
                Err(JobError::Lost) => {
                    tracing::warn!(%run, container, "somebody else collects this server's output");
                    return;
                }
                // PostgreSQL or Docker restarting.
                Err(error) => {
                    tracing::warn!(%run, %error, "collecting a server's output goes on in a moment")
                }
            }
            if begun.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The containers of servers whose output is being stored.
    pub fn followed(&self) -> HashSet<String> {
        let mut servers = self.servers();
        servers.retain(|_, task| !task.is_finished());
        servers.keys().cloned().collect()
    }

    pub async fn stop(&self) {
        let mut tasks: Vec<_> = self.servers().drain().map(|(_, task)| task).collect();
        tasks.extend(self.drain_ended());
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<String, JoinHandle<()>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line that continues a record (a traceback) has its record's level.
fn levels() -> impl Fn(&str) -> LogLevel + Send {
    let last = Mutex::new(LogLevel::Info);
    move |line| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(level) = level_of(line) {
            *last = level;
        }
        *last
    }
}
