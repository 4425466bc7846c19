//! Containers that nothing owns. They hold no data: what they keep is mounted. One whose data is kept may end in order
//! first, so that nothing of it is cut in half.

use super::{
    look::{Look, Reconciler, Round},
    owner::{Fate, Owners},
    trouble::Trouble,
};
use std::time::Duration;

/// What a server may take to end.
pub(super) const GRACE: Duration = Duration::from_secs(10);

pub struct Containers;

pub struct Job {
    id: String,
    in_order: bool,
}

impl Reconciler for Containers {
    const NAME: &'static str = "containers";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let containers = round.shop.docker.containers().await?;
        let owners = Owners::of(round, containers.iter().filter_map(|it| it.labels.environment)).await?;
        let mut look = Look::at(containers.len());
        for container in containers.into_iter().filter(|it| !owners.is_of_another_host(it.host)) {
            if let Some(why) = owners.orphan(container.labels) {
                let environment = container.labels.environment;
                let in_order = environment.is_some_and(|id| matches!(owners.fate(id), Fate::Quarantine(_)));
                look.finds(&container.name, "remove", why, Job { id: container.id, in_order });
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        let docker = &round.shop.docker;
        if job.in_order {
            docker.stop_container(&job.id, GRACE).await?;
        }
        Ok(docker.remove_container(&job.id).await?)
    }
}
