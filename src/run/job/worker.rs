//! The worker's loop: it waits for runs, holds as many as it may, keeps their leases alive and ends them.

mod ending;
mod figures;
mod pulse;

use super::{JobError, Workshop, build, collect::Collectors};
use crate::{
    Error, Result, environment,
    node::Identity,
    postgres::{Announcement, Announcements, Heard},
    queue::{self, Claim, Registration},
    reconcile::{self, epoch},
    run::RunKind,
};
use futures::FutureExt;
use pulse::{Held, Interrupt};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{MissedTickBehavior, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// Announcements wake the worker; this finds what was never announced, such as room on its own disk.
const SLOW_POLL: Duration = Duration::from_secs(2);
/// What is queued while no worker waits is not announced. Who begins to wait looks again this soon, for what was being
/// queued just then.
const FIRST_POLLS: [Duration; 2] = [Duration::from_millis(30), Duration::from_millis(300)];
/// Being forgotten is rare.
const REGISTERED: Duration = Duration::from_secs(10);
/// A run was queued.
const RUNS: &str = "ops_run";
/// An environment is to be destroyed.
const ENVIRONMENTS: &str = "ops_environment";
/// Somebody asks something of the reconcilers.
const RECONCILE: &str = "ops_reconcile";

/// How a worker is told to end.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Claims nothing more, and has the configured grace to finish what it holds.
    pub drain: CancellationToken,
    /// Hands back what it holds, now.
    pub at_once: CancellationToken,
}

impl Stop {
    pub fn new() -> Self {
        let at_once = CancellationToken::new();
        // Who ends at once claims nothing more either.
        Self { drain: at_once.child_token(), at_once }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// Works until it is told to stop; then it claims nothing more, and what is not finished within the grace is handed
/// back.
pub async fn work(shop: Workshop, stop: Stop) -> Result<()> {
    let capacity = shop.config.worker_concurrency;
    register(&shop, capacity).await?;
    let collectors = Collectors::new(shop.clone());
    // Heartbeats and announcements go on while the last runs end.
    let hearing = CancellationToken::new();
    let _hearing = hearing.clone().drop_guard();
    let announcements =
        Announcements::listen(&shop.pool, &[RUNS, ENVIRONMENTS, RECONCILE, pulse::CANCEL], hearing.clone());
    let held = Held::default();
    let beating = pulse::beat(shop.clone(), held.clone(), stop.drain.clone(), announcements.subscribe());
    let beating = AbortOnDropHandle::new(tokio::spawn(beating));

    let mut tasks = JoinSet::new();
    tasks.spawn(reconcile::keep_reconciling(shop.clone(), collectors.clone(), stop.drain.clone()));
    tasks.spawn(end_when_forgotten(shop.clone(), stop.drain.clone()));
    let woken = wake_reconcilers(shop.clone(), announcements.subscribe());
    tasks.spawn(stop.drain.clone().run_until_cancelled_owned(woken).map(drop));
    let floor = Floor { shop, collectors, held, capacity, stop };
    floor.claim_until_told(announcements.subscribe()).await;
    while tasks.join_next().await.is_some() {}
    floor.collectors.stop().await;
    drop(beating);
    Ok(())
}

async fn register(shop: &Workshop, capacity: usize) -> Result<()> {
    let mut conn = shop.pool.acquire().await?;
    let registration = Registration {
        worker: &shop.name,
        host: &shop.name,
        version: env!("CARGO_PKG_VERSION"),
        capacity: i32::try_from(capacity).unwrap_or(i32::MAX),
        kinds: &shop.config.worker_kinds,
    };
    let (host, released) = queue::register_worker(&mut conn, registration).await.map_err(Error::internal)?;
    shop.docker.make_for(host);
    if Identity::of(&shop.config).map_err(Error::internal)?.is_none() {
        // From when there was one machine, this one.
        environment::query::settle(&mut conn, host).await?;
    }
    if released > 0 {
        tracing::info!(released, "runs of an earlier process of this worker go back to the queue");
    }
    Ok(())
}

/// A worker that an administrator forgot while nothing was heard of it belongs to no host any more. It ends, and
/// registers anew when it is started again.
async fn end_when_forgotten(shop: Workshop, drain: CancellationToken) {
    let mut looks = tokio::time::interval(REGISTERED);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = drain.cancelled() => return,
        }
        let known = sqlx::query_scalar!(
            r#"select exists (select from ops.workers where id = $1) as "known!""#,
            shop.name
        );
        // While the database is away, nothing is known.
        if matches!(known.fetch_one(&shop.pool).await, Ok(false)) {
            tracing::warn!(worker = %shop.name, "this worker was forgotten: it ends");
            drain.cancel();
        }
    }
}

/// Wakes the reconcilers when an environment is to go, or somebody asks something of them; also while all slots are taken.
async fn wake_reconcilers(shop: Workshop, mut heard: Heard) {
    loop {
        match heard.next().await {
            Announcement::Told { channel, .. } if ![ENVIRONMENTS, RECONCILE].contains(&&*channel) => {}
            Announcement::Told { .. } | Announcement::Missed => shop.changed.notify_one(),
        }
    }
}

/// Where runs are worked on.
#[derive(Clone)]
struct Floor {
    shop: Workshop,
    collectors: Collectors,
    held: Held,
    capacity: usize,
    stop: Stop,
}

impl Floor {
    async fn claim_until_told(&self, mut heard: Heard) {
        let slots = Arc::new(Semaphore::new(self.capacity));
        let mut runs = JoinSet::new();
        let stopped = self.stop.drain.cancelled();
        tokio::pin!(stopped);
        let mut first_polls = FIRST_POLLS.iter();
        loop {
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => slot,
                () = &mut stopped => break,
            };
            let Ok(slot) = slot else { break };
            // What is begun without a daemon fails, and counts as an attempt.
            tokio::select! {
                () = self.shop.docker.back() => {}
                () = &mut stopped => break,
            }
            // One look serves all that was announced before it.
            heard.skip();
            match self.claim().await {
                Ok(Some(claim)) => {
                    first_polls = FIRST_POLLS.iter();
                    let floor = self.clone();
                    runs.spawn(async move {
                        floor.hold(claim).await;
                        drop(slot);
                    });
                }
                Ok(None) => {
                    // What was queued since the look began waits here.
                    let patience = first_polls.next().copied().unwrap_or(SLOW_POLL);
                    tokio::select! {
                        _ = timeout(patience, heard.on(RUNS)) => {}
                        () = &mut stopped => break,
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "claiming failed; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                        () = &mut stopped => break,
                    }
                }
            }
            while runs.try_join_next().is_some() {}
        }
        self.finish_or_hand_back(runs).await;
    }

    async fn finish_or_hand_back(&self, mut runs: JoinSet<()>) {
        while runs.try_join_next().is_some() {}
        if !runs.is_empty() {
            tracing::info!(runs = runs.len(), "nothing more is claimed; finishing what is under way");
        }
        let grace = Duration::from_secs(self.shop.config.drain_seconds);
        let finished = async { while runs.join_next().await.is_some() {} };
        if timeout(grace, finished).await.is_err() {
            tracing::info!(runs = runs.len(), "the grace is over; handing back what is not finished");
            self.stop.at_once.cancel();
        }
        while runs.join_next().await.is_some() {}
    }

    async fn claim(&self) -> std::result::Result<Option<Claim>, queue::Error> {
        let mut conn = self.shop.pool.acquire().await?;
        let claim = queue::claim(&mut conn, &self.shop.name).await?;
        if claim.is_none() {
            queue::wait(&mut conn, &self.shop.name).await?;
        }
        Ok(claim)
    }

    async fn hold(&self, claim: Claim) {
        let (shop, collectors) = (&self.shop, &self.collectors);
        tracing::info!(run = %claim.id, attempt = claim.attempt, "run claimed");
        let limit = Duration::from_secs(shop.config.build_timeout_seconds);
        let mut held = self.held.add(&claim);
        let outcome = tokio::select! {
            outcome = timeout(limit, self.perform(&claim)) => Ok(outcome),
            interrupt = held.interrupted() => Err(interrupt),
            () = self.stop.at_once.cancelled() => Err(Interrupt::Stopping),
        };
        let ended = match outcome {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => ending::badly(shop, collectors, &claim, error).await,
            Ok(Err(_)) => ending::timed_out(shop, collectors, &claim, limit).await,
            Err(Interrupt::Canceled) => ending::badly(shop, collectors, &claim, JobError::Canceled).await,
            Err(Interrupt::Stopping) => ending::handed_back(shop, collectors, &claim).await,
            Err(Interrupt::Lost) => {
                tracing::warn!(run = %claim.id, "the lease was lost; the run is somebody else's");
                Ok(())
            }
        };
        // Its lease was kept alive until here: removing what it made takes time.
        drop(held);
        if let Err(error) = ended {
            // The lease runs out and the run is tried again, or another worker has it already.
            tracing::warn!(run = %claim.id, %error, "the end of the run could not be recorded");
        }
        shop.changed.notify_one();
    }

    /// Ok: the run has ended, as its work said.
    async fn perform(&self, claim: &Claim) -> std::result::Result<(), JobError> {
        epoch::before_creation(&self.shop, claim).await?;
        match claim.kind {
            RunKind::Build => build::build(&self.shop, &self.collectors, claim).await,
            other => Err(JobError::fail(format!("This worker does not do runs of kind {other}."))),
        }
    }
}
