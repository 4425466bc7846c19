//! Nobody is sent to a server that does not answer: health first, then the login page.

use super::{
    JobError,
    progress::Progress,
    start::{PORT, Server},
};
use crate::{docker::ContainerStatus, environment::query::Environment, odoo::gate};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

pub async fn pass(
    progress: Progress<'_>,
    environment: &Environment,
    server: &Server,
) -> Result<((), String), JobError> {
    let shop = progress.shop;
    let host = format!("{}.{}", environment.hostname, shop.urls.base_domain);
    let runs = || {
        let (docker, id) = (shop.docker.clone(), server.id.clone());
        async move {
            let container = docker.container(&id).await.ok().flatten();
            container.is_some_and(|c| c.status == ContainerStatus::Running && c.restarts == 0)
        }
    };
    gate::pass_gate(server.address, PORT, &host, runs, PATIENCE)
        .await
        .map_err(|error| JobError::fail(format!("The server does not answer: {error}.")))?;
    Ok(((), "the login page answers".to_owned()))
}
