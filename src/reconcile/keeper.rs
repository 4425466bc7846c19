//! The loops: every half minute, and when something changed.

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
    id::HostId,
    queue,
    run::job::{Workshop, collect::Collectors},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_secs(30);
const LEASES: Duration = Duration::from_secs(2);
/// A restored dump is noticed when it is older than this, also while nothing is built.
const EPOCH: Duration = Duration::from_secs(180);
/// Logs, events and the audit log have a partition a day, made days ahead; what was busy is made soon after.
const PARTITIONS: Duration = Duration::from_secs(600);

/// What keeps time (leases, the epoch, partitions), what runs, and what goes each have a task: removing a large filestore
/// takes minutes, in which runs of dead workers still go back to the queue and servers are still made again.
pub async fn keep_reconciling(shop: Workshop, collectors: Collectors, stop: CancellationToken) {
    let wake = shop.changed.clone();
    let watch = shop.docker.watch(|seen| match seen {
        Seen::Container(event) if !is_end_of_server(&event.kind, event.labels.environment.is_some()) => {}
        Seen::Container(_) | Seen::Back => wake.notify_one(),
    });
    let looked = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(keep_leases(shop.clone()));
    tasks.spawn(keep_epoch(shop.clone()));
    tasks.spawn(keep_partitions(shop.clone()));
    tasks.spawn(keep_running(shop.clone(), collectors.clone(), looked.clone()));
    tasks.spawn(keep_tidy(shop.clone(), collectors, looked));
    tokio::select! {
        () = stop.cancelled() => {}
        () = watch => {}
        Some(Err(error)) = tasks.join_next() => tracing::error!(%error, "a task of the reconcilers died"),
    }
    tasks.shutdown().await;
}

fn is_end_of_server(kind: &ContainerEventKind, is_of_environment: bool) -> bool {
    is_of_environment && matches!(kind, ContainerEventKind::Died { .. })
}

async fn keep_leases(shop: Workshop) {
    let mut ticks = ticks(LEASES);
    loop {
        ticks.tick().await;
        told(requeue(&shop).await);
    }
}

async fn keep_epoch(shop: Workshop) {
    let mut ticks = ticks(EPOCH);
    loop {
        ticks.tick().await;
        told(advance(&shop).await);
    }
}

async fn keep_partitions(shop: Workshop) {
    let mut ticks = ticks(PARTITIONS);
    loop {
        ticks.tick().await;
        told(make_partitions(&shop).await);
    }
}

async fn keep_running(shop: Workshop, collectors: Collectors, looked: Arc<Notify>) {
    let mut ticks = ticks(PAUSE);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shop.changed.notified() => {}
        }
        told(run_round(&shop, &collectors).await);
        // What runs comes before what is in the way. Of several that come while the other is busy one is left.
        looked.notify_one();
    }
}

async fn keep_tidy(shop: Workshop, collectors: Collectors, looked: Arc<Notify>) {
    loop {
        looked.notified().await;
        told(tidy_round(&shop, &collectors).await);
    }
}

fn ticks(pause: Duration) -> Interval {
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn told(outcome: Result<(), Trouble>) {
    if let Err(Trouble(trouble)) = outcome {
        tracing::warn!(%trouble, "the reconciler will look again");
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

/// First the dry runs that somebody asked for: asked what would be done, one answers before doing it. Then what runs.
pub async fn run_round(shop: &Workshop, collectors: &Collectors) -> Result<(), Trouble> {
    let host = epoch::own_host(shop).await?;
    epoch::adopt(&mut *shop.pool.acquire().await?, host).await?;
    let (round, permit) = begin(shop, collectors, host).await?;
    answer_requests(&round, permit.clone()).await?;
    let mut turns = Turns { round: &round, permit, stored: true, reports: Vec::new() };
    turns.of_what_runs().await;
    Ok(())
}

/// What goes, and what is put away.
pub async fn tidy_round(shop: &Workshop, collectors: &Collectors) -> Result<(), Trouble> {
    let host = epoch::own_host(shop).await?;
    let (round, permit) = begin(shop, collectors, host).await?;
    let mut turns = Turns { round: &round, permit, stored: true, reports: Vec::new() };
    turns.of_what_goes().await;
    Ok(())
}

async fn begin<'a>(
    shop: &'a Workshop,
    collectors: &'a Collectors,
    host: HostId,
) -> Result<(Round<'a>, Permit), Trouble> {
    let stand = epoch::stand(shop, host).await?;
    let round = Round { shop, collectors, host, confirmed_at: stand.confirmed_at };
    Ok((round, Permit::of(stand.standing)))
}

async fn answer_requests(round: &Round<'_>, permit: Permit) -> Result<(), Trouble> {
    let mut conn = round.shop.pool.acquire().await?;
    let requests = query::open_requests(&mut conn, round.host).await?;
    drop(conn);
    if requests.is_empty() {
        return Ok(());
    }
    let permit = match permit {
        Permit::Everything { .. } => Permit::Nothing("Somebody asked what would be done.".to_owned()),
        Permit::Mend(reason) | Permit::Nothing(reason) => Permit::Nothing(reason),
    };
    let mut turns = Turns { round, permit, stored: false, reports: Vec::new() };
    turns.of_what_runs().await;
    turns.of_what_goes().await;
    let mut conn = round.shop.pool.acquire().await?;
    for request in requests {
        query::answer(&mut conn, request, &turns.reports).await?;
    }
    Ok(())
}

/// Each reconciler's turn. One that fails holds no other up.
struct Turns<'a> {
    round: &'a Round<'a>,
    permit: Permit,
    stored: bool,
    reports: Vec<Report>,
}

impl Turns<'_> {
    async fn of_what_runs(&mut self) {
        self.take(StuckRuns).await;
        self.take(Servers).await;
        self.take(LogCollectors).await;
    }

    async fn of_what_goes(&mut self) {
        self.take(ExpiredEnvironments).await;
        self.take(Environments).await;
        self.take(Hostnames).await;
        // A network goes after its containers, data after what may write to them.
        self.take(Containers).await;
        self.take(Networks).await;
        self.take(Databases).await;
        self.take(Directories).await;
        self.take(Volumes).await;
        self.take(Quarantine).await;
        self.take(Templates).await;
        self.take(Images).await;
        self.take(ExpiredArtifacts).await;
    }

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
