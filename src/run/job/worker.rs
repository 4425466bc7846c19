//! The worker's loop: it waits for runs, holds as many as it may, keeps their leases alive and ends them.

use super::{
    JobError, Workshop, build, collect::Collectors, maintenance, progress::Progress, reconcile, remove,
};
use crate::{
    Error, Result,
    queue::{self, Claim},
    run::{LogLevel, RunKind, RunStatus},
};
use futures::FutureExt;
use sqlx::postgres::PgListener;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

/// Half of what cancelling may take to be noticed, and a fifteenth of a lease.
const PULSE: Duration = Duration::from_secs(1);
/// Announcements wake the worker; this finds what was never announced.
const SLOW_POLL: Duration = Duration::from_secs(5);
/// A run was queued.
const RUNS: &str = "ops_run";
/// An environment is to be destroyed.
const ENVIRONMENTS: &str = "ops_environment";

/// Works until it is told to stop; then it claims nothing more and hands back what it holds.
pub async fn work(shop: Workshop, stop: CancellationToken) -> Result<()> {
    let capacity = shop.config.worker_concurrency;
    let mut conn = shop.pool.acquire().await?;
    let slots = i32::try_from(capacity).unwrap_or(i32::MAX);
    let registration = queue::Registration {
        worker: &shop.name,
        host: &shop.name,
        version: env!("CARGO_PKG_VERSION"),
        capacity: slots,
        kinds: &[RunKind::Build, RunKind::Maintenance],
    };
    let (_host, released) = queue::register_worker(&mut conn, registration).await.map_err(Error::internal)?;
    if released > 0 {
        tracing::info!(released, "runs of an earlier process of this worker go back to the queue");
    }
    drop(conn);

    let collectors = Collectors::new(shop.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(reconcile::keep_reconciling(shop.clone(), collectors.clone(), stop.clone()));
    tasks.spawn(stop.clone().run_until_cancelled_owned(hear_of_environments(shop.clone())).map(drop));
    claim_until(&shop, &collectors, capacity, &stop).await;
    while tasks.join_next().await.is_some() {}
    collectors.stop().await;
    Ok(())
}

async fn claim_until(shop: &Workshop, collectors: &Collectors, capacity: usize, stop: &CancellationToken) {
    let slots = Arc::new(Semaphore::new(capacity));
    let mut runs = JoinSet::new();
    let mut listener = None;
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = stop.cancelled() => break,
        };
        let Ok(slot) = slot else { break };
        // Listen first, look second: what is queued in between is announced.
        if listener.is_none() {
            listener = listen(shop).await;
        }
        match claim(shop).await {
            Ok(Some(claim)) => {
                let (shop, collectors, stop) = (shop.clone(), collectors.clone(), stop.clone());
                runs.spawn(async move {
                    hold(&shop, &collectors, claim, stop).await;
                    drop(slot);
                });
            }
            Ok(None) => {
                tokio::select! {
                    () = wait(&mut listener) => {}
                    () = stop.cancelled() => break,
                }
            }
            Err(error) => {
                tracing::warn!(%error, "claiming failed; trying again");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
        while runs.try_join_next().is_some() {}
    }
    while runs.join_next().await.is_some() {}
}

async fn listen(shop: &Workshop) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(&shop.pool).await.ok()?;
    listener.listen(RUNS).await.ok()?;
    Some(listener)
}

/// Wakes the reconciler when an environment is to go, also while all slots are taken.
async fn hear_of_environments(shop: Workshop) {
    loop {
        if let Ok(mut listener) = PgListener::connect_with(&shop.pool).await
            && listener.listen(ENVIRONMENTS).await.is_ok()
        {
            while listener.recv().await.is_ok() {
                shop.changed.notify_one();
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Until something was queued, or the slow poll is due.
async fn wait(listener: &mut Option<PgListener>) {
    let Some(open) = listener else {
        return tokio::time::sleep(SLOW_POLL.min(Duration::from_secs(1))).await;
    };
    if let Ok(Err(error)) = timeout(SLOW_POLL, open.recv()).await {
        tracing::warn!(%error, "listening for runs stopped; it starts again");
        *listener = None;
    }
}

async fn claim(shop: &Workshop) -> std::result::Result<Option<Claim>, queue::Error> {
    let mut conn = shop.pool.acquire().await?;
    let claim = queue::claim(&mut conn, &shop.name).await?;
    if let Some(claim) = &claim {
        queue::start(&mut conn, claim, &shop.name).await?;
    }
    Ok(claim)
}

fn minutes(limit: Duration) -> String {
    match limit.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// Why work on a run stops before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    Canceled,
    /// The lease is lost: another worker may hold the run by now.
    Lost,
    /// This worker is told to stop.
    Stopping,
}

async fn hold(shop: &Workshop, collectors: &Collectors, claim: Claim, stop: CancellationToken) {
    tracing::info!(run = %claim.id, attempt = claim.attempt, "run claimed");
    let limit = Duration::from_secs(shop.config.build_timeout_seconds);
    let outcome = tokio::select! {
        outcome = timeout(limit, perform(shop, collectors, &claim)) => Ok(outcome),
        interrupt = interrupted(shop, &claim, stop) => Err(interrupt),
    };
    let ended = match outcome {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => end_badly(shop, &claim, error).await,
        Ok(Err(_)) => {
            remove::everything_of(shop, &claim).await;
            let message = format!("The build took longer than the {} that it may.", minutes(limit));
            finish(shop, &claim, RunStatus::TimedOut, None, Some(&message)).await
        }
        Err(Interrupt::Canceled) => end_badly(shop, &claim, JobError::Canceled).await,
        Err(Interrupt::Stopping) => {
            remove::everything_of(shop, &claim).await;
            hand_back(shop, &claim, "The worker was stopped.").await
        }
        Err(Interrupt::Lost) => {
            tracing::warn!(run = %claim.id, "the lease was lost; the run is somebody else's");
            Ok(())
        }
    };
    if let Err(error) = ended {
        // The lease runs out and the run is tried again, or another worker has it already.
        tracing::warn!(run = %claim.id, %error, "the end of the run could not be recorded");
    }
    shop.changed.notify_one();
}

/// Ok: the run has ended, as its work said.
async fn perform(
    shop: &Workshop,
    collectors: &Collectors,
    claim: &Claim,
) -> std::result::Result<(), JobError> {
    match claim.kind {
        RunKind::Build => build::build(shop, collectors, claim).await,
        RunKind::Maintenance => maintenance::maintain(shop, claim).await,
        other => Err(JobError::fail(format!("This worker does not do runs of kind {other}."))),
    }
}

async fn end_badly(shop: &Workshop, claim: &Claim, error: JobError) -> std::result::Result<(), queue::Error> {
    match error {
        JobError::Lost => Ok(()),
        JobError::Canceled => {
            remove::everything_of(shop, claim).await;
            finish(shop, claim, RunStatus::Canceled, None, None).await
        }
        JobError::Fail { message, exit_code } => {
            remove::everything_of(shop, claim).await;
            finish(shop, claim, RunStatus::Failed, exit_code, Some(&message)).await
        }
        JobError::Retry { .. } => {
            let reason = error.to_string();
            tracing::warn!(run = %claim.id, %reason, "the attempt failed");
            remove::everything_of(shop, claim).await;
            let progress = Progress { shop, claim };
            let _ = progress.log("system", LogLevel::Warn, &format!("This attempt ends: {reason}")).await;
            retry(shop, claim, &reason).await
        }
    }
}

/// Records the end. PostgreSQL may be restarting just now; the lease bounds how long we try.
async fn finish(
    shop: &Workshop,
    claim: &Claim,
    status: RunStatus,
    exit_code: Option<i32>,
    message: Option<&str>,
) -> std::result::Result<(), queue::Error> {
    persist(|| async move {
        let mut conn = shop.pool.acquire().await?;
        queue::finish(&mut conn, claim, status, exit_code, message).await
    })
    .await
}

async fn retry(shop: &Workshop, claim: &Claim, reason: &str) -> std::result::Result<(), queue::Error> {
    persist(|| async move {
        let mut conn = shop.pool.acquire().await?;
        queue::retry(&mut conn, claim, reason).await
    })
    .await
}

async fn hand_back(shop: &Workshop, claim: &Claim, reason: &str) -> std::result::Result<(), queue::Error> {
    persist(|| async move {
        let mut conn = shop.pool.acquire().await?;
        queue::hand_back(&mut conn, claim, reason).await
    })
    .await
}

async fn persist<F: Future<Output = std::result::Result<(), queue::Error>>>(
    attempt: impl Fn() -> F,
) -> std::result::Result<(), queue::Error> {
    let mut tries = 0;
    loop {
        match attempt().await {
            Err(queue::Error::Database(cause)) if tries < 20 => {
                tries += 1;
                tracing::warn!(%cause, "the ops database does not answer; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Keeps the lease alive; returns when the work must stop.
async fn interrupted(shop: &Workshop, claim: &Claim, stop: CancellationToken) -> Interrupt {
    let mut last_success = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PULSE) => {}
            () = stop.cancelled() => return Interrupt::Stopping,
        }
        match pulse(shop, claim).await {
            Ok(Some(pulse)) if pulse.cancel_requested => return Interrupt::Canceled,
            Ok(Some(_)) => last_success = tokio::time::Instant::now(),
            Ok(None) => return Interrupt::Lost,
            // Without an answer for as long as a lease lasts, the run may be in other hands.
            Err(_) if last_success.elapsed() > Duration::from_secs(28) => return Interrupt::Lost,
            Err(error) => tracing::warn!(%error, "the heartbeat failed"),
        }
    }
}

async fn pulse(shop: &Workshop, claim: &Claim) -> std::result::Result<Option<queue::Pulse>, queue::Error> {
    let mut conn = shop.pool.acquire().await?;
    Ok(queue::heartbeat(&mut conn, &shop.name, &[(claim.id, claim.lease)], None).await?.pop())
}
