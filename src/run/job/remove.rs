//! What a run made outside PostgreSQL is taken away. All of it may be repeated.

use super::{JobError, Workshop, sources::remove_tree};
use crate::{
    docker::{Labels, names},
    environment::{self, EnvironmentState, query::Environment},
    queue::{self, Claim},
    reconcile::{epoch, trouble::Trouble},
};

/// After an attempt that did not end well. Failures are left to the reconciler, which finds the remains by their
/// labels; it also tells the environment's end when there is no other attempt.
pub async fn everything_of(shop: &Workshop, claim: &Claim) {
    if let Err(error) = try_everything_of(shop, claim).await {
        tracing::warn!(run = %claim.id, %error, "the run's remains will be removed later");
    }
}

async fn try_everything_of(shop: &Workshop, claim: &Claim) -> Result<(), JobError> {
    // Waits for the commit that publishes it, whose answer may have been lost: then it is not ours to remove any more.
    let mut txn = shop.pool.begin().await?;
    match queue::hold(&mut txn, claim).await {
        Ok(_) => {}
        Err(queue::Error::LeaseLost) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let environment = environment::query::by_run(&mut txn, claim.id).await?;
    txn.commit().await?;
    let Some(environment) = environment.filter(|it| it.state == EnvironmentState::Building) else {
        return Ok(());
    };
    match epoch::may_take_away(shop, environment.created_at).await {
        Ok(true) => remains_of(shop, &environment).await,
        Ok(false) => Ok(()),
        Err(Trouble(cause)) => Err(JobError::retry(cause)),
    }
}

/// Containers, network, database and files of an environment, and a template's container that its run has left.
pub async fn remains_of(shop: &Workshop, environment: &Environment) -> Result<(), JobError> {
    what_runs(shop, environment).await?;
    shop.tenants.drop_database(environment.id).await?;
    remove_tree(&shop.config.environment_dir(environment.id)).await
}

/// All but its data.
pub async fn what_runs(shop: &Workshop, environment: &Environment) -> Result<(), JobError> {
    for container in shop.docker.containers().await? {
        let Labels { environment: of, run } = container.labels;
        if of == Some(environment.id) || (of.is_none() && run.is_some() && run == environment.run_id) {
            shop.docker.remove_container(&container.id).await?;
        }
    }
    Ok(shop.docker.remove_network(&names::environment_network(environment.id)).await?)
}
