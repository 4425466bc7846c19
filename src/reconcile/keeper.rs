//! The loop: every half minute, and when something changed.

use super::{
    Report,
    collectors::LogCollectors,
    containers::Containers,
    databases::Databases,
    directories::Directories,
    environments::Environments,
    epoch,
    expired_artifacts::ExpiredArtifacts,
    expired_environments::ExpiredEnvironments,
    hostnames::Hostnames,
    images::Images,
    look::{Permit, Reconciler, Round, turn},
    networks::Networks,
    quarantine::Quarantine,
    query,
    servers::Servers,
    stuck_runs::StuckRuns,
    templates::Templates,
    trouble::Trouble,
    volumes::Volumes,
};
use crate::{
    docker::{ContainerEventKind, Seen},
    queue,
    run::job::{Workshop, collect::Collectors},
};
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_secs(30);
const LEASES: Duration = Duration::from_secs(5);
/// A restored dump is noticed when it is older than this, also while nothing is built.
const EPOCH: Duration = Duration::from_secs(180);
/// Logs, events and the audit log have a partition a day, made days ahead; what was busy is made soon after.
const PARTITIONS: Duration = Duration::from_secs(600);

pub async fn keep_reconciling(shop: Workshop, collectors: Collectors, stop: CancellationToken) {
    let wake = shop.changed.clone();
    let watch = shop.docker.watch(|seen| match seen {
        Seen::Container(event) if !is_end_of_server(&event.kind, event.labels.environment.is_some()) => {}
        Seen::Container(_) | Seen::Back => wake.notify_one(),
    });
    tokio::select! {
        () = stop.cancelled() => {}
        () = watch => {}
        () = keep(&shop, &collectors) => {}
    }
}

fn is_end_of_server(kind: &ContainerEventKind, is_of_environment: bool) -> bool {
    is_of_environment && matches!(kind, ContainerEventKind::Died { .. })
}

async fn keep(shop: &Workshop, collectors: &Collectors) {
    let every = |pause| {
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut look, mut leases) = (every(PAUSE), every(LEASES));
    let (mut epochs, mut partitions) = (every(EPOCH), every(PARTITIONS));
    loop {
        let outcome = tokio::select! {
            _ = leases.tick() => requeue(shop).await,
            _ = epochs.tick() => advance(shop).await,
            _ = partitions.tick() => make_partitions(shop).await,
            _ = look.tick() => reconcile(shop, collectors).await,
            () = shop.changed.notified() => reconcile(shop, collectors).await,
        };
        if let Err(Trouble(trouble)) = outcome {
            tracing::warn!(%trouble, "the reconciler will look again");
        }
    }
}

async fn requeue(shop: &Workshop) -> Result<(), Trouble> {
    let mut conn = shop.pool.acquire().await?;
    let requeued = queue::requeue_lost(&mut conn).await?;
    if requeued > 0 {
        tracing::warn!(requeued, "runs of silent workers go back to the queue");
    }
    Ok(())
}

async fn advance(shop: &Workshop) -> Result<(), Trouble> {
    let host = epoch::own_host(shop).await?;
    epoch::advance(shop, host).await.map(drop)
}

async fn make_partitions(shop: &Workshop) -> Result<(), Trouble> {
    let mut conn = shop.pool.acquire().await?;
    Ok(queue::ensure_partitions(&mut conn).await?)
}

/// One look at everything, with what it leads to; then the dry runs that somebody asked for.
pub async fn reconcile(shop: &Workshop, collectors: &Collectors) -> Result<(), Trouble> {
    let host = epoch::own_host(shop).await?;
    epoch::adopt(&mut *shop.pool.acquire().await?, host).await?;
    let stand = epoch::stand(shop, host).await?;
    let round = Round { shop, collectors, host, confirmed_at: stand.confirmed_at };
    let mut conn = shop.pool.acquire().await?;
    let requests = query::open_requests(&mut conn, host).await?;
    drop(conn);
    // Asked what would be done, one answers before doing it.
    if !requests.is_empty() {
        let permit = match Permit::of(stand.standing) {
            Permit::Everything { .. } => Permit::Nothing("Somebody asked what would be done.".to_owned()),
            Permit::Mend(reason) | Permit::Nothing(reason) => Permit::Nothing(reason),
        };
        let reports = all(&round, permit, false).await;
        let mut conn = shop.pool.acquire().await?;
        for request in requests {
            query::answer(&mut conn, request, &reports).await?;
        }
    }
    all(&round, Permit::of(stand.standing), true).await;
    Ok(())
}

/// Each reconciler's turn. One that fails holds no other up.
async fn all(round: &Round<'_>, permit: Permit, stored: bool) -> Vec<Report> {
    let mut turns = Turns { round, permit, stored, reports: Vec::new() };
    turns.take(StuckRuns).await;
    // What runs comes before what is in the way.
    turns.take(Servers).await;
    turns.take(LogCollectors).await;
    turns.take(ExpiredEnvironments).await;
    turns.take(Environments).await;
    turns.take(Hostnames).await;
    // A network goes after its containers, data after what may write to them.
    turns.take(Containers).await;
    turns.take(Networks).await;
    turns.take(Databases).await;
    turns.take(Directories).await;
    turns.take(Volumes).await;
    turns.take(Quarantine).await;
    turns.take(Templates).await;
    turns.take(Images).await;
    turns.take(ExpiredArtifacts).await;
    turns.reports
}

struct Turns<'a> {
    round: &'a Round<'a>,
    permit: Permit,
    stored: bool,
    reports: Vec<Report>,
}

impl Turns<'_> {
    async fn take<R: Reconciler>(&mut self, reconciler: R) {
        let shop = self.round.shop;
        let outcome = async {
            let report = turn(&reconciler, self.round, &mut self.permit).await?;
            if self.stored {
                let mut conn = shop.pool.acquire().await?;
                query::store(&mut conn, self.round.host, &report)
                    .await
                    .map_err(|error| Trouble(error.to_string()))?;
            }
            Ok::<_, Trouble>(report)
        };
        match outcome.await {
            Ok(report) => self.reports.push(report),
            Err(Trouble(trouble)) => tracing::warn!(reconciler = R::NAME, %trouble, "it did not look"),
        }
    }
}
