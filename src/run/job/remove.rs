//! What a run made outside PostgreSQL is taken away. All of it may be repeated.

use super::{JobError, Workshop, collect::Collectors, sources::remove_tree};
use crate::{
    docker::{Labels, names},
    environment::{self, EnvironmentState, query::Environment},
    queue::{self, Claim},
    reconcile::{epoch, trouble::Trouble},
};
use futures::future::try_join_all;
use std::time::Duration;
use tokio::time::Instant;

/// How long who removes waits until what containers printed is stored. What takes longer stays, stopped, until the
/// reconciler finds it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A person waits for the end of the run: two seconds are promised.
    Person,
    /// The process is to end.
    Leaving,
    /// A slot for runs is held.
    Slot,
    /// Nobody is held up but what comes next in a round.
    Round,
    /// The run's own next attempt, within the time that it has.
    Attempt(Duration),
}

impl Patience {
    fn longest(self) -> Duration {
        match self {
            Self::Person => Duration::from_millis(500),
            Self::Leaving => Duration::from_secs(3),
            Self::Slot => Duration::from_secs(10),
            Self::Round => Duration::from_secs(2),
            Self::Attempt(time) => time,
        }
    }

    pub fn until(self) -> Instant {
        let now = Instant::now();
        // Longer than any build may take.
        now.checked_add(self.longest()).unwrap_or(now + Duration::from_secs(365 * 86_400))
    }
}

/// After an attempt that did not end well. Failures are left to the reconciler, which finds the remains by their
/// labels; it also tells the environment's end when there is no other attempt.
pub async fn everything_of(shop: &Workshop, collectors: &Collectors, claim: &Claim, patience: Patience) {
    if let Err(error) = try_everything_of(shop, collectors, claim, patience).await {
        tracing::warn!(run = %claim.id, %error, "the run's remains will be removed later");
    }
}

async fn try_everything_of(
    shop: &Workshop,
    collectors: &Collectors,
    claim: &Claim,
    patience: Patience,
) -> Result<(), JobError> {
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
        Ok(true) => remains_of(shop, collectors, &environment, patience).await,
        Ok(false) => Ok(()),
        Err(Trouble(cause)) => Err(JobError::retry(cause)),
    }
}

/// Containers, network, database and files of an environment, and a template's container that its run has left.
pub async fn remains_of(
    shop: &Workshop,
    collectors: &Collectors,
    environment: &Environment,
    patience: Patience,
) -> Result<(), JobError> {
    what_runs(shop, collectors, environment, patience).await?;
    shop.tenants.drop_database(environment.id).await?;
    remove_tree(&shop.config.environment_dir(environment.id)).await
}

/// All but its data. Nothing of it runs afterwards; a container that printed more than could be stored by then stays
/// until it is, and then has no owner.
pub async fn what_runs(
    shop: &Workshop,
    collectors: &Collectors,
    environment: &Environment,
    patience: Patience,
) -> Result<(), JobError> {
    let containers = shop.docker.containers().await?;
    let of_it = containers.iter().filter(|container| {
        let Labels { environment: of, run } = container.labels;
        of == Some(environment.id) || (of.is_none() && run.is_some() && run == environment.run_id)
    });
    let until = patience.until();
    try_join_all(of_it.map(|container| collectors.let_go(container, until))).await?;
    Ok(shop.docker.remove_network(&names::environment_network(environment.id)).await?)
}
