//! Networks that nothing owns.

use super::{
    look::{Look, Reconciler, Round},
    owner::Owners,
    trouble::Trouble,
};

pub struct Networks;

impl Reconciler for Networks {
    const NAME: &'static str = "networks";
    type Job = String;

    async fn look(&self, round: &Round<'_>) -> Result<Look<String>, Trouble> {
        let networks = round.shop.docker.networks().await?;
        let owners = Owners::of(round, networks.iter().filter_map(|it| it.labels.environment)).await?;
        let mut look = Look::at(networks.len());
        for network in networks.into_iter().filter(|it| !owners.is_of_another_host(it.host)) {
            if let Some(why) = owners.orphan(network.labels) {
                look.finds(&network.name, "remove", why, network.name.clone());
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, name: &String) -> Result<(), Trouble> {
        Ok(round.shop.docker.remove_network(name).await?)
    }
}
