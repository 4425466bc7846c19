//! Routes: an environment that does not run has no address, and no two share one. The proxy would send visitors to
//! whoever has it now.

use super::{
    look::{Look, Reconciler, Round},
    trouble::Trouble,
};
use crate::{docker::names, environment, environment::EnvironmentState, id::EnvironmentId};
use std::collections::HashMap;

pub struct Hostnames;

pub struct Job {
    environment: EnvironmentId,
    address: String,
}

struct Route {
    environment: EnvironmentId,
    hostname: String,
    state: EnvironmentState,
    container: Option<String>,
    address: String,
    port: Option<i32>,
}

impl Reconciler for Hostnames {
    const NAME: &'static str = "hostnames";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let routes = sqlx::query_as!(
            Route,
            r#"select id as "environment: EnvironmentId", hostname, state as "state: EnvironmentState",
                   container_id as container, address as "address!", port
               from ops.environments where host_id = $1 and address is not null order by id"#,
            round.host.0
        );
        let routes = routes.fetch_all(&round.shop.pool).await?;
        let mut look = Look::at(routes.len());
        let mut held: HashMap<(String, Option<i32>), Vec<Route>> = HashMap::new();
        for route in routes {
            if route.state == EnvironmentState::Running {
                held.entry((route.address.clone(), route.port)).or_default().push(route);
            } else {
                let job = Job { environment: route.environment, address: route.address };
                look.mends(route.hostname, "close", "its environment does not run", job);
            }
        }
        for route in held.into_values().filter(|sharing| sharing.len() > 1).flatten() {
            if !has_address(round, &route).await? {
                let job = Job { environment: route.environment, address: route.address };
                look.mends(route.hostname, "close", "another environment has its address now", job);
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        let mut conn = round.shop.pool.acquire().await?;
        Ok(environment::query::clear_address(&mut conn, job.environment, &job.address).await?)
    }
}

async fn has_address(round: &Round<'_>, route: &Route) -> Result<bool, Trouble> {
    let Some(id) = &route.container else { return Ok(false) };
    let network = names::environment_network(route.environment);
    let container = round.shop.docker.container(id).await?;
    let address = container.and_then(|container| container.addresses.get(&network).copied());
    Ok(address.is_some_and(|address| address.to_string() == route.address))
}
