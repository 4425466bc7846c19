//! Containers that nothing owns. They hold no data: what they keep is mounted. One whose data is kept may end in order
//! first, so that nothing of it is cut in half.

use super::{
    look::{Look, Reconciler, Round},
    owner::{Fate, Owners},
    trouble::Trouble,
};
use crate::{docker::Container, run::job::remove::Patience};
use std::time::Duration;

/// What a server may take to end.
pub(super) const GRACE: Duration = Duration::from_secs(10);

pub struct Containers;

pub struct Job {
    container: Container,
    in_order: bool,
}

impl Reconciler for Containers {
    const NAME: &'static str = "containers";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let containers = round.shop.docker.containers().await?;
        let owners = Owners::of(round, containers.iter().filter_map(|it| it.labels.environment)).await?;
        let mut look = Look::at(containers.len());
        // What ended and is still being read needs nobody; when it is read, there is another round.
        let unread = |id: &str| round.collectors.is_reading(id);
        for container in
            containers.into_iter().filter(|it| !unread(&it.id) && !owners.is_of_another_host(it.host))
        {
            if let Some(why) = owners.orphan(container.labels) {
                let environment = container.labels.environment;
                let in_order = environment.is_some_and(|id| matches!(owners.fate(id), Fate::Quarantine(_)));
                look.finds(container.name.clone(), "remove", why, Job { container, in_order });
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        let docker = &round.shop.docker;
        if job.in_order {
            docker.stop_container(&job.container.id, GRACE).await?;
        }
        match round.collectors.let_go(&job.container, Patience::Round.until()).await? {
            true => Ok(()),
            false => Err(Trouble("it ended; what it printed is still being stored".to_owned())),
        }
    }
}
