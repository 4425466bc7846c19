//! Containers that nothing owns. They hold no data: what they keep is mounted.

use super::{
    look::{Look, Reconciler, Round},
    owner::Owners,
    trouble::Trouble,
};

pub struct Containers;

impl Reconciler for Containers {
    const NAME: &'static str = "containers";
    type Job = String;

    async fn look(&self, round: &Round<'_>) -> Result<Look<String>, Trouble> {
        let containers = round.shop.docker.containers().await?;
        let owners = Owners::of(round, containers.iter().filter_map(|it| it.labels.environment)).await?;
        let mut look = Look::at(containers.len());
        for container in containers {
            if let Some(why) = owners.orphan(container.labels) {
                look.finds(&container.name, "remove", why, container.id);
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, id: &String) -> Result<(), Trouble> {
        Ok(round.shop.docker.remove_container(id).await?)
    }
}
