//! The worker's heartbeat: one for all runs that it holds. It renews their leases, tells what the machine has free,
//! and hears which runs are to be canceled and which are lost.

use super::{super::Workshop, figures};
use crate::{
    id::RunId,
    postgres::{Announcement, Heard},
    queue::{self, Claim},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// Half of what cancelling may take to be noticed, and a fraction of a lease.
const PULSE: Duration = Duration::from_secs(1);
/// A database that takes longer is as good as away.
const PATIENCE: Duration = Duration::from_secs(4);
/// A heartbeat leaves a lease that has twenty seconds or more: without an answer for this long, a run may be in
/// other hands.
const LEASE: Duration = Duration::from_secs(18);
/// A run that a worker holds is to be canceled.
pub const CANCEL: &str = "ops_cancel";

/// Why work on a run stops before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    Canceled,
    /// The lease is lost: another worker may hold the run by now.
    Lost,
    /// This worker is told to stop.
    Stopping,
}

/// The runs that this worker holds.
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<Mutex<HashMap<RunId, Hold>>>);

#[derive(Debug)]
struct Hold {
    lease: i64,
    /// When it was last certain that the run is ours.
    sure: Instant,
    interrupt: Option<oneshot::Sender<Interrupt>>,
}

/// Held while the run is worked on.
#[derive(Debug)]
pub struct HeldRun {
    held: Held,
    run: RunId,
    interrupt: oneshot::Receiver<Interrupt>,
}

impl Held {
    pub fn add(&self, claim: &Claim) -> HeldRun {
        let (sender, interrupt) = oneshot::channel();
        let hold = Hold { lease: claim.lease, sure: Instant::now(), interrupt: Some(sender) };
        self.lock().insert(claim.id, hold);
        HeldRun { held: self.clone(), run: claim.id, interrupt }
    }

    fn contains(&self, run: &str) -> bool {
        run.parse().is_ok_and(|run: RunId| self.lock().contains_key(&run))
    }

    fn leases(&self) -> Vec<(RunId, i64)> {
        self.lock().iter().map(|(run, hold)| (*run, hold.lease)).collect()
    }

    /// What a heartbeat about `asked`, begun at `begun`, was answered.
    fn learn(&self, begun: Instant, asked: &[(RunId, i64)], answer: &[queue::Pulse]) {
        let mut held = self.lock();
        for (run, lease) in asked {
            // It may have ended, and even come back, in between.
            let Some(hold) = held.get_mut(run).filter(|hold| hold.lease == *lease) else { continue };
            match answer.iter().find(|pulse| pulse.run == *run) {
                Some(pulse) if pulse.cancel_requested => hold.interrupt(Interrupt::Canceled),
                Some(_) => hold.sure = begun,
                None => hold.interrupt(Interrupt::Lost),
            }
        }
    }

    fn give_up_stale(&self) {
        for hold in self.lock().values_mut().filter(|hold| hold.sure.elapsed() > LEASE) {
            hold.interrupt(Interrupt::Lost);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Hold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    fn interrupt(&mut self, why: Interrupt) {
        if let Some(sender) = self.interrupt.take() {
            // Who is not there any more has ended.
            let _ = sender.send(why);
        }
    }
}

impl HeldRun {
    /// Returns when the work must stop; not before.
    pub async fn interrupted(&mut self) -> Interrupt {
        match (&mut self.interrupt).await {
            Ok(why) => why,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for HeldRun {
    fn drop(&mut self) {
        self.held.lock().remove(&self.run);
    }
}

/// Beats until it is dropped.
pub async fn beat(shop: Workshop, held: Held, drain: CancellationToken, mut heard: Heard) {
    let mut ticks = interval(PULSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent = false;
    let mut stopping = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = drain.cancelled(), if !stopping => stopping = true,
            () = canceled(&held, &mut heard) => {}
        }
        let begun = Instant::now();
        let asked = held.leases();
        match timeout(PATIENCE, once(&shop, &asked, stopping)).await {
            Ok(Ok(answer)) => {
                held.learn(begun, &asked, &answer);
                if std::mem::take(&mut silent) {
                    tracing::info!("heartbeats arrive again");
                }
            }
            failed => {
                held.give_up_stale();
                if !std::mem::replace(&mut silent, true) {
                    let cause = failed.map_or_else(|_| "no answer in time".to_owned(), |it| cause(it.err()));
                    tracing::warn!(%cause, "the heartbeat fails; trying again every second");
                }
            }
        }
    }
}

fn cause(error: Option<queue::Error>) -> String {
    error.map_or_else(String::new, |error| error.to_string())
}

/// Until one of our runs is to be canceled. Nothing heard is no reason to hurry: the tick comes.
async fn canceled(held: &Held, heard: &mut Heard) {
    loop {
        if let Announcement::Told { payload, .. } = heard.on(CANCEL).await
            && held.contains(&payload)
        {
            return;
        }
    }
}

async fn once(
    shop: &Workshop,
    asked: &[(RunId, i64)],
    stopping: bool,
) -> Result<Vec<queue::Pulse>, queue::Error> {
    let figures = figures::read(&shop.config.data_dir);
    let figures = figures.inspect_err(|error| tracing::debug!(%error, "the machine's figures")).ok();
    let mut conn = shop.pool.acquire().await?;
    queue::heartbeat(&mut conn, &shop.name, asked, queue::Machine { stopping, figures }).await
}

#[cfg(test)]
mod tests {
    use super::{Held, HeldRun, Interrupt, LEASE};
    use crate::{
        id::{ProjectId, RunId},
        queue::{Claim, Pulse},
        run::RunKind,
    };
    use std::time::Duration;
    use tokio::{sync::oneshot::error::TryRecvError, time::Instant};

    fn claim(lease: i64) -> Claim {
        Claim {
            id: RunId::new(),
            lease,
            attempt: 1,
            project_id: ProjectId::new(),
            branch_id: None,
            environment_id: None,
            kind: RunKind::Build,
            git_ref: String::new(),
            commit_sha: String::new(),
            params: serde_json::Value::Null,
        }
    }

    fn pulse(run: RunId, cancel_requested: bool) -> Pulse {
        Pulse { run, cancel_requested }
    }

    fn heard(run: &mut HeldRun) -> Option<Interrupt> {
        match run.interrupt.try_recv() {
            Ok(interrupt) => Some(interrupt),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => panic!("the run is not held"),
        }
    }

    #[test]
    fn each_run_hears_what_concerns_it() {
        let held = Held::default();
        let claims = [claim(1), claim(2), claim(3)];
        let [mut kept, mut canceled, mut lost] = claims.each_ref().map(|claim| held.add(claim));
        let asked = held.leases();
        assert_eq!(asked.len(), 3);
        // Claimed after the question: the answer says nothing about it.
        let later = claim(4);
        let mut later_hold = held.add(&later);
        held.learn(Instant::now(), &asked, &[pulse(claims[0].id, false), pulse(claims[1].id, true)]);
        assert_eq!(heard(&mut canceled), Some(Interrupt::Canceled));
        assert_eq!(heard(&mut lost), Some(Interrupt::Lost));
        assert_eq!((heard(&mut kept), heard(&mut later_hold)), (None, None));
        drop((canceled, lost));
        assert_eq!(held.leases().len(), 2);
        assert!(held.contains(&later.id.to_string()) && !held.contains(&claims[1].id.to_string()));
    }

    #[test]
    fn without_an_answer_a_run_is_given_up_before_its_lease_can_end() {
        let held = Held::default();
        let claim = claim(1);
        let mut run = held.add(&claim);
        let since = |time: Duration| held.lock().get_mut(&claim.id).unwrap().sure = Instant::now() - time;
        since(LEASE - Duration::from_secs(5));
        held.give_up_stale();
        assert_eq!(heard(&mut run), None);
        since(LEASE + Duration::from_millis(1));
        held.give_up_stale();
        assert_eq!(heard(&mut run), Some(Interrupt::Lost));
    }

    /// The same run, claimed again with another lease while the question was under way.
    #[test]
    fn an_answer_about_an_older_lease_changes_nothing() {
        let held = Held::default();
        let mut old = claim(1);
        let hold = held.add(&old);
        let asked = held.leases();
        drop(hold);
        old.lease = 2;
        let mut hold = held.add(&old);
        held.learn(Instant::now(), &asked, &[]);
        assert_eq!(heard(&mut hold), None);
    }
}
