//! Who reads which container's output: one collector per container, of builds while they run and of servers as long
//! as they live.

use super::{JobError, Workshop};
use crate::{
    id::RunId,
    log::collector::{CollectEnd, Collector},
    odoo::level_of,
    run::LogLevel,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;

#[derive(Clone)]
pub struct Collectors {
    shop: Workshop,
    servers: Arc<Mutex<HashMap<String, JoinHandle<()>>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The container ended and its last line is stored.
    Complete,
    OutputLimit,
}

impl Collectors {
    pub fn new(shop: Workshop) -> Self {
        Self { shop, servers: Arc::default() }
    }

    /// Stores a container's output until it ends; `tap` sees each line once it is stored.
    pub async fn collect(
        &self,
        run: RunId,
        container: &str,
        stream: &str,
        mut tap: impl FnMut(&str) + Send,
    ) -> Result<Ended, JobError> {
        let shop = &self.shop;
        let collector = Collector::new(shop.pool.clone(), shop.docker.clone(), shop.name.clone());
        let end = collector
            .follow(run, container, stream, levels(), |line| tap(line.message))
            .await
            .map_err(|error| JobError::retry(error.to_string()))?;
        match end {
            CollectEnd::Finished => Ok(Ended::Complete),
            CollectEnd::OutputLimit => Ok(Ended::OutputLimit),
            CollectEnd::LeaseLost => Err(JobError::Lost),
        }
    }

    /// Stores a server's output from now on, unless somebody here does already.
    pub fn follow(&self, run: RunId, container: &str) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|_, task| !task.is_finished());
        if servers.contains_key(container) {
            return;
        }
        let (this, id) = (self.clone(), container.to_owned());
        let task = tokio::spawn(async move {
            // An end of the container is an end; an error is PostgreSQL or Docker restarting.
            while let Err(error) = this.collect(run, &id, "odoo", |_| ()).await {
                tracing::warn!(%run, %error, "collecting a server's output goes on in a moment");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        servers.insert(container.to_owned(), task);
    }

    pub async fn stop(&self) {
        let tasks: Vec<_> = {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            servers.drain().map(|(_, task)| task).collect()
        };
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
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
