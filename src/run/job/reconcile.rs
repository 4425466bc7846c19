//! Wanted against real, every half minute and when something changed: what PostgreSQL does not know is removed,
//! what it wants is brought back. Takes no input and acts only on what carries this installation's id.

use super::{
    JobError, Workshop,
    collect::Collectors,
    image::Image,
    remove,
    sources::remove_tree,
    start::{self, PORT, Server},
};
use crate::{
    docker::{ContainerStatus, Labels, names},
    environment::{self, EnvironmentState, query::Environment},
    id::EnvironmentId,
    queue,
};
use std::{collections::HashMap, fmt::Display, time::Duration};
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_secs(30);
const LEASES: Duration = Duration::from_secs(5);
/// Logs, events and the audit log have a partition a day, made days ahead.
const PARTITIONS: Duration = Duration::from_secs(6 * 3600);

pub async fn keep_reconciling(shop: Workshop, collectors: Collectors, stop: CancellationToken) {
    let mut look = tokio::time::interval(PAUSE);
    let mut leases = tokio::time::interval(LEASES);
    let mut partitions = tokio::time::interval(PARTITIONS);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    leases.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            _ = leases.tick() => requeue(&shop).await,
            _ = partitions.tick() => make_partitions(&shop).await,
            _ = look.tick() => reconcile(&shop, &collectors).await,
            () = shop.changed.notified() => reconcile(&shop, &collectors).await,
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "the reconciler will look again");
        }
    }
}

async fn requeue(shop: &Workshop) -> Result<(), JobError> {
    let mut conn = shop.pool.acquire().await?;
    let requeued = queue::requeue_lost(&mut conn).await?;
    if requeued > 0 {
        tracing::warn!(requeued, "runs of silent workers go back to the queue");
    }
    Ok(())
}

/// What the container of a server that was made again is for.
const AGAIN: &str = "server-again";

async fn make_partitions(shop: &Workshop) -> Result<(), JobError> {
    let mut conn = shop.pool.acquire().await?;
    Ok(queue::ensure_partitions(&mut conn).await?)
}

/// One look. The list of environments is read *after* those of Docker, PostgreSQL and the disk: what is made in
/// between has its row first, so that it is never taken for an orphan. What cannot be mended now is looked at again
/// the next time, and holds nothing else up.
pub async fn reconcile(shop: &Workshop, collectors: &Collectors) -> Result<(), JobError> {
    let containers = shop.docker.containers().await?;
    let networks = shop.docker.networks().await?;
    let databases = shop.tenants.list_databases().await?;
    let folders = folders(shop).await?;
    let mut conn = shop.pool.acquire().await?;
    let live: HashMap<EnvironmentId, Environment> =
        environment::query::live(&mut conn).await?.into_iter().map(|e| (e.id, e)).collect();
    let active = environment::query::active_runs(&mut conn).await?;
    let abandoned = environment::query::abandoned(&mut conn).await?;
    drop(conn);
    let is_owned = |labels: Labels| match labels.environment {
        Some(id) => live.contains_key(&id),
        None => labels.run.is_some_and(|run| active.contains(&run)),
    };

    for environment in live.values() {
        let end = match environment.state {
            EnvironmentState::Destroying => EnvironmentState::Destroyed,
            // Its run ended without its worker: nobody will finish it.
            EnvironmentState::Building if abandoned.contains(&environment.id) => EnvironmentState::Failed,
            _ => continue,
        };
        noted("an environment's end", environment.id, take_away(shop, environment, end).await);
    }
    for container in containers.iter().filter(|container| !is_owned(container.labels)) {
        tracing::info!(container = %container.name, "removing a container that nothing owns");
        noted("a container", &container.name, shop.docker.remove_container(&container.id).await);
    }
    for network in networks.iter().filter(|network| !is_owned(network.labels)) {
        tracing::info!(network = %network.name, "removing a network that nothing owns");
        noted("a network", &network.name, shop.docker.remove_network(&network.name).await);
    }
    for id in databases.iter().map(|database| database.environment).filter(|id| !live.contains_key(id)) {
        tracing::info!(environment = %id, "dropping a database that nothing owns");
        noted("a database", id, shop.tenants.drop_database(id).await);
    }
    for id in folders.into_iter().filter(|id| !live.contains_key(id)) {
        noted("a folder", id, remove_tree(&shop.config.environment_dir(id)).await);
    }
    for environment in live.values().filter(|e| e.state == EnvironmentState::Running) {
        noted("a server", environment.id, keep_running(shop, collectors, environment).await);
    }
    Ok(())
}

fn noted<E: Display>(what: &str, which: impl Display, outcome: Result<(), E>) {
    if let Err(error) = outcome {
        tracing::warn!(%which, %error, "{what} is looked at again later");
    }
}

async fn take_away(
    shop: &Workshop,
    environment: &Environment,
    end: EnvironmentState,
) -> Result<(), JobError> {
    remove::remains_of(shop, environment).await?;
    let mut conn = shop.pool.acquire().await?;
    Ok(environment::query::set_state(&mut conn, environment.id, end).await?)
}

/// A published server that stopped is started, one whose container is gone is made again from what it consists of,
/// its address is kept current, its output is collected.
async fn keep_running(
    shop: &Workshop,
    collectors: &Collectors,
    environment: &Environment,
) -> Result<(), JobError> {
    let (Some(id), Some(run)) = (&environment.container_id, environment.run_id) else { return Ok(()) };
    let server = if is_there(shop, environment, id).await? {
        // None: it is just ending or starting, and Docker starts it again.
        let Some(address) = start::address(shop, environment, id).await? else { return Ok(()) };
        Server { id: id.to_owned(), address }
    } else {
        let Some(image) = &environment.image else { return Ok(()) };
        tracing::warn!(environment = %environment.id, "the server's container is gone; making it again");
        // One that was made and never started may have other limits than those of now.
        shop.docker.remove_container(&names::container(environment.id, AGAIN)).await?;
        start::server(shop, run, environment, &Image::named(image), AGAIN).await?
    };
    let mut conn = shop.pool.acquire().await?;
    let address = server.address.to_string();
    environment::query::set_server(&mut conn, environment.id, &server.id, &address, PORT).await?;
    drop(conn);
    collectors.follow(run, &server.id);
    Ok(())
}

/// Whether the server has its container, which is started when it had stopped. One that cannot be started (its network
/// was removed) is taken away, so that it can be made again.
async fn is_there(shop: &Workshop, environment: &Environment, id: &str) -> Result<bool, JobError> {
    let Some(container) = shop.docker.container(id).await? else { return Ok(false) };
    if container.status != ContainerStatus::Running {
        tracing::info!(environment = %environment.id, "starting a server that had stopped");
        if let Err(error) = shop.docker.start_container(id).await {
            tracing::warn!(environment = %environment.id, %error, "the server's container does not start");
            shop.docker.remove_container(id).await?;
            return Ok(false);
        }
    }
    Ok(true)
}

async fn folders(shop: &Workshop) -> Result<Vec<EnvironmentId>, JobError> {
    let mut ids = Vec::new();
    let mut entries = match tokio::fs::read_dir(shop.config.environments_dir()).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ids),
        Err(error) => return Err(JobError::retry(error)),
    };
    while let Some(entry) = entries.next_entry().await.map_err(JobError::retry)? {
        ids.extend(entry.file_name().to_str().and_then(|name| name.parse::<EnvironmentId>().ok()));
    }
    Ok(ids)
}
