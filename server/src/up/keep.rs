//! Keeping one thing running: started again when it dies, sooner at first, then with more and more patience.

use super::{
    log::Log,
    role::{Role, RunningRole},
};
use crate::Failure;
use odooops::postgres::{Cluster, Output, Postmaster};
use std::{io, process::ExitStatus, time::Duration};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What ran this long had started: its next death is a first one again. What dies at once, each time, waits ever longer.
const HEALTHY_AFTER: Duration = Duration::from_secs(3);

/// What can be kept.
pub enum Unit {
    Cluster(Cluster),
    Role(Role),
}

enum Running {
    Cluster(Postmaster),
    Role(RunningRole),
}

/// A kept unit. It runs until it is stopped.
pub struct Kept {
    stop: CancellationToken,
    hurry: CancellationToken,
    task: JoinHandle<()>,
}

impl Kept {
    /// Ends it, and waits for that; with less patience once `hurry` is set.
    pub async fn stop(mut self, hurry: &CancellationToken) {
        self.stop.cancel();
        let ended = tokio::select! {
            ended = &mut self.task => ended,
            () = hurry.cancelled() => {
                self.hurry.cancel();
                self.task.await
            }
        };
        if let Err(error) = ended {
            tracing::error!(%error, "a supervising task died");
        }
    }
}

/// Starts the unit, which must work the first time, and keeps it from then on.
pub async fn keep(unit: Unit, log: &Log) -> Result<Kept, Failure> {
    let mut running = unit.start(log).await?;
    let (stop, hurry, log) = (CancellationToken::new(), CancellationToken::new(), log.clone());
    let (stopping, hurrying) = (stop.clone(), hurry.clone());
    let task = tokio::spawn(async move {
        let mut wait = FIRST_WAIT;
        loop {
            let begun = Instant::now();
            tokio::select! {
                () = stopping.cancelled() => {
                    log.say(&format!("stopping {}", unit.name()));
                    if let Err(error) = running.stop(&hurrying).await {
                        log.say(&format!("{}: {error}", unit.name()));
                    }
                    return;
                }
                ended = running.ended() => {
                    let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                    log.say(&format!("{} ended ({how}), starting it again", unit.name()));
                }
            }
            if begun.elapsed() >= HEALTHY_AFTER {
                wait = FIRST_WAIT;
            }
            running = loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
                wait = (wait * 2).min(LONGEST_WAIT);
                match unit.start(&log).await {
                    Ok(running) => break running,
                    Err(failure) => log.say(&format!("{} does not start: {failure}", unit.name())),
                }
            };
        }
    });
    Ok(Kept { stop, hurry, task })
}

impl Unit {
    fn name(&self) -> &str {
        match self {
            Self::Cluster(cluster) => cluster.kind().name(),
            Self::Role(role) => role.name(),
        }
    }

    async fn start(&self, log: &Log) -> Result<Running, Failure> {
        let lines = log.lines_of(self.name());
        Ok(match self {
            Self::Cluster(cluster) => Running::Cluster(cluster.start(&Output::Lines(lines)).await?),
            Self::Role(role) => Running::Role(role.start(lines)?),
        })
    }
}

impl Running {
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Cluster(postmaster) => postmaster.ended().await,
            Self::Role(role) => role.ended().await,
        }
    }

    async fn stop(&mut self, hurry: &CancellationToken) -> io::Result<ExitStatus> {
        match self {
            Self::Cluster(postmaster) => postmaster.stop().await,
            Self::Role(role) => role.stop(hurry).await,
        }
    }
}
