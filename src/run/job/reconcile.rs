//! Wanted against real, every half minute and when something changed: what PostgreSQL does not know is removed,
//! what it wants is brought back. Takes no input and acts only on what carries this installation's id.

use super::{JobError, Workshop, collect::Collectors, remove, sources::remove_tree, start::PORT};
use crate::{
    docker::{ContainerStatus, names},
    environment::{self, EnvironmentState, query::Environment},
    id::{EnvironmentId, RunId},
    queue,
};
use std::{collections::HashMap, time::Duration};
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_secs(30);
const LEASES: Duration = Duration::from_secs(5);

pub async fn keep_reconciling(shop: Workshop, collectors: Collectors, stop: CancellationToken) {
    let mut look = tokio::time::interval(PAUSE);
    let mut leases = tokio::time::interval(LEASES);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    leases.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            _ = leases.tick() => requeue(&shop).await,
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

/// One look. The list of environments is read *after* those of Docker, PostgreSQL and the disk: what is made in
/// between has its row first, so that it is never taken for an orphan.
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
    let is_active = |run: Option<RunId>| run.is_some_and(|run| active.contains(&run));
    drop(conn);

    for (id, environment) in &live {
        let end = match environment.state {
            EnvironmentState::Destroying => EnvironmentState::Destroyed,
            // Its run ended without its worker: nobody will finish it.
            EnvironmentState::Building if abandoned.contains(id) => EnvironmentState::Failed,
            _ => continue,
        };
        remove::remains_of(shop, environment).await?;
        let mut conn = shop.pool.acquire().await?;
        environment::query::set_state(&mut conn, *id, end).await?;
    }
    for container in &containers {
        let owned = match container.labels.environment {
            Some(id) => live.contains_key(&id),
            None => is_active(container.labels.run),
        };
        if !owned {
            tracing::info!(container = %container.name, "removing a container that nothing owns");
            shop.docker.remove_container(&container.id).await?;
        }
    }
    for network in &networks {
        let owned = match network.labels.environment {
            Some(id) => live.contains_key(&id),
            None => is_active(network.labels.run),
        };
        if !owned {
            tracing::info!(network = %network.name, "removing a network that nothing owns");
            shop.docker.remove_network(&network.name).await?;
        }
    }
    for database in databases {
        if !live.contains_key(&database.environment) {
            tracing::info!(environment = %database.environment, "dropping a database that nothing owns");
            shop.tenants.drop_database(database.environment).await?;
        }
    }
    for id in folders {
        if !live.contains_key(&id) {
            remove_tree(&shop.config.environment_dir(id)).await?;
        }
    }
    for environment in live.values().filter(|e| e.state == EnvironmentState::Running) {
        keep_running(shop, collectors, environment).await?;
    }
    Ok(())
}

/// A published server that stopped is started, its address is kept current, its output is collected.
async fn keep_running(
    shop: &Workshop,
    collectors: &Collectors,
    environment: &Environment,
) -> Result<(), JobError> {
    let (Some(id), Some(run)) = (&environment.container_id, environment.run_id) else { return Ok(()) };
    let Some(container) = shop.docker.container(id).await? else {
        tracing::warn!(environment = %environment.id, "the server's container is gone");
        let mut conn = shop.pool.acquire().await?;
        environment::query::set_state(&mut conn, environment.id, EnvironmentState::Failed).await?;
        return Ok(());
    };
    if container.status != ContainerStatus::Running {
        tracing::info!(environment = %environment.id, "starting a server that had stopped");
        shop.docker.start_container(id).await?;
    }
    let network = names::environment_network(environment.id);
    let container = shop.docker.container(id).await?;
    if let Some(address) = container.and_then(|c| c.addresses.get(&network).copied()) {
        let mut conn = shop.pool.acquire().await?;
        environment::query::set_address(&mut conn, environment.id, &address.to_string(), PORT).await?;
    }
    collectors.follow(run, id);
    Ok(())
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
