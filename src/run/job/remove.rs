//! What a run made outside PostgreSQL is taken away. All of it may be repeated.

use super::{JobError, Workshop, sources::remove_tree};
use crate::{
    docker::names,
    environment::{self, EnvironmentState, query::Environment},
    id::EnvironmentId,
    queue::Claim,
};

/// After an attempt that did not end well. `for_good`: there will be no other. Failures are left to the
/// reconciler, which finds the remains by their labels.
pub async fn everything_of(shop: &Workshop, claim: &Claim, for_good: bool) {
    if let Err(error) = try_everything_of(shop, claim, for_good).await {
        tracing::warn!(run = %claim.id, %error, "the run's remains will be removed later");
    }
}

async fn try_everything_of(shop: &Workshop, claim: &Claim, for_good: bool) -> Result<(), JobError> {
    let mut conn = shop.pool.acquire().await?;
    let Some(environment) = environment::query::by_run(&mut conn, claim.id).await? else { return Ok(()) };
    if for_good {
        environment::query::set_state(&mut conn, environment.id, EnvironmentState::Failed).await?;
    }
    drop(conn);
    remains_of(shop, &environment).await
}

/// Containers, network, database and files of an environment.
pub async fn remains_of(shop: &Workshop, environment: &Environment) -> Result<(), JobError> {
    objects_of(shop, environment.id).await?;
    shop.tenants.drop_database(environment.id).await?;
    remove_tree(&shop.config.environment_dir(environment.id)).await
}

pub async fn objects_of(shop: &Workshop, id: EnvironmentId) -> Result<(), JobError> {
    for container in shop.docker.containers().await? {
        if container.labels.environment == Some(id) {
            shop.docker.remove_container(&container.id).await?;
        }
    }
    shop.docker.remove_network(&names::environment_network(id)).await?;
    Ok(())
}
