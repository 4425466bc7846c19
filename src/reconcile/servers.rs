//! Servers that should run: one that stopped is started, one whose container is gone is made again from what it
//! consists of, and its address is kept current.

use super::{
    look::{Look, Reconciler, Round},
    trouble::Trouble,
};
use crate::{
    docker::{ContainerStatus, DockerError, names},
    environment::{self, EnvironmentState, query::Environment},
    run::job::{
        Workshop,
        image::Image,
        remove::Patience,
        start::{self, PORT, Server},
    },
};
use std::net::IpAddr;

/// What the container of a server that was made again is for.
const AGAIN: &str = "server-again";

pub struct Servers;

pub enum Job {
    MakeAgain(Box<Environment>),
    Start(Box<Environment>, String),
    Address(Box<Environment>, String, IpAddr),
}

impl Reconciler for Servers {
    const NAME: &'static str = "servers";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let mut conn = round.shop.pool.acquire().await?;
        let live = environment::query::live(&mut conn).await?;
        drop(conn);
        let running = live
            .into_iter()
            .filter(|it| it.state == EnvironmentState::Running && it.host_id == Some(round.host));
        let mut look = Look::at(0);
        for environment in running {
            look.looked_at += 1;
            if let Err(Trouble(trouble)) = look_at(round.shop, environment.clone(), &mut look).await {
                look.troubles.push(format!("{}: {trouble}", environment.hostname));
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        let shop = round.shop;
        let (environment, server) = match job {
            Job::MakeAgain(environment) => (environment, make_again(round, environment).await?),
            Job::Start(environment, id) => (environment, start(round, environment, id).await?),
            Job::Address(environment, id, address) => {
                (environment, Some(Server { id: id.clone(), address: *address }))
            }
        };
        // None: it is just ending or starting, and Docker starts it again; or it is not wanted any more.
        let Some(server) = server else { return Ok(()) };
        let mut conn = shop.pool.acquire().await?;
        let address = server.address.to_string();
        let noted =
            environment::query::set_server(&mut conn, environment.id, &server.id, &address, PORT).await?;
        if !noted && environment.container_id.as_ref() != Some(&server.id) {
            // Told to go meanwhile: who removed what it had did not see this one.
            let_go(round, &server.id).await?;
        }
        Ok(())
    }
}

async fn look_at(shop: &Workshop, environment: Environment, look: &mut Look<Job>) -> Result<(), Trouble> {
    let (Some(id), Some(_)) = (environment.container_id.clone(), environment.run_id) else { return Ok(()) };
    let (hostname, stored) = (environment.hostname.clone(), environment.address.clone());
    match shop.docker.container(&id).await? {
        None => {
            let job = Job::MakeAgain(Box::new(environment));
            look.finds(hostname, "make again", "its container is gone", job);
        }
        Some(container) if container.status != ContainerStatus::Running => {
            look.mends(hostname, "start", "its container had stopped", Job::Start(Box::new(environment), id));
        }
        Some(container) => {
            let address = container.addresses.get(&names::environment_network(environment.id)).copied();
            if let Some(address) = address.filter(|now| stored != Some(now.to_string())) {
                let why = format!("it answers at {address} now");
                look.mends(hostname, "route", why, Job::Address(Box::new(environment), id, address));
            }
        }
    }
    Ok(())
}

async fn make_again(round: &Round<'_>, environment: &Environment) -> Result<Option<Server>, Trouble> {
    let shop = round.shop;
    let (Some(image), Some(run)) = (&environment.image, environment.run_id) else { return Ok(None) };
    // It may have been told to go since we looked.
    let mut conn = shop.pool.acquire().await?;
    let still = environment::query::by_run(&mut conn, run).await?;
    drop(conn);
    if still.is_none_or(|now| now.state != EnvironmentState::Running) {
        return Ok(None);
    }
    // One that was made and never started may have other limits than those of now.
    if !let_go(round, &names::container(environment.id, AGAIN)).await? {
        return Ok(None);
    }
    Ok(Some(start::server(shop, run, environment, &Image::named(image), AGAIN).await?))
}

/// The same container. Only one that lost what it consists of (its network was removed) is made again.
async fn start(round: &Round<'_>, environment: &Environment, id: &str) -> Result<Option<Server>, Trouble> {
    let shop = round.shop;
    match shop.docker.start_container(id).await {
        Ok(()) => {}
        Err(DockerError::NotFound(cause)) => {
            tracing::warn!(environment = %environment.id, %cause, "the server's container cannot be started");
            return if let_go(round, id).await? { make_again(round, environment).await } else { Ok(None) };
        }
        Err(error) => return Err(error.into()),
    }
    let address = start::address(shop, environment, id).await?;
    Ok(address.map(|address| Server { id: id.to_owned(), address }))
}

/// Removes a container once all that it printed is stored; false: that takes longer.
async fn let_go(round: &Round<'_>, id: &str) -> Result<bool, Trouble> {
    let Some(container) = round.shop.docker.container(id).await? else { return Ok(true) };
    Ok(round.collectors.let_go(&container, Patience::Round.until()).await?)
}
