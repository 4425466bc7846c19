//! The server's container.

use super::{JobError, Workshop, image::Image, progress::Progress};
use crate::{
    docker::{ContainerSpec, Labels, Limits, LogRotation, Mount, Tmpfs, names},
    environment::query::Environment,
    id::RunId,
    odoo::launch::{self, owner},
};
use std::net::IpAddr;

const MIB: u64 = 1024 * 1024;
/// Where Odoo listens inside the container.
pub const PORT: u16 = 8069;

pub struct Server {
    pub id: String,
    pub address: IpAddr,
}

/// What every container of an environment has in common.
pub fn odoo_container(
    shop: &Workshop,
    run: RunId,
    environment: &Environment,
    image: &Image,
    name: String,
    arguments: Vec<String>,
) -> ContainerSpec {
    let config = &shop.config;
    let folder = config.environment_dir(environment.id);
    let (uid, gid) = owner();
    let labels = Labels::environment(run, environment.id);
    let mount = |source: std::path::PathBuf, target: &str, read_only| Mount {
        source,
        target: target.to_owned(),
        read_only,
    };
    let mut spec = ContainerSpec::new(name, image.name.clone(), labels);
    spec.entrypoint = image.odoo();
    spec.command = arguments;
    spec.user = Some(format!("{uid}:{gid}"));
    spec.env = vec![
        ("HOME".to_owned(), "/var/lib/odoo".to_owned()),
        // The sources are mounted read-only: nowhere to write bytecode to.
        ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
        ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
    ];
    spec.mounts = vec![
        mount(folder.join("src"), "/mnt/src", true),
        mount(folder.join("etc"), launch::FOLDER, true),
        mount(folder.join("data"), "/var/lib/odoo", false),
        mount(config.tenants_socket_dir(), "/var/run/postgresql", true),
    ];
    spec.tmpfs = vec![Tmpfs::new("/tmp", config.environment_tmp_mb * MIB)];
    spec.limits = Limits {
        memory_bytes: config.environment_memory_mb * MIB,
        cpus: config.environment_cpus,
        pids: config.environment_pids,
    };
    spec
}

pub async fn run(
    progress: Progress<'_>,
    environment: &Environment,
    image: &Image,
) -> Result<(Server, String), JobError> {
    let (shop, claim) = (progress.shop, progress.claim);
    let server = server(shop, claim.id, environment, image, &format!("server-{}", claim.lease)).await?;
    Ok((server, format!("{} MiB, {} CPU", shop.config.environment_memory_mb, shop.config.environment_cpus)))
}

/// Starts the server of an environment that has its database and its files.
pub async fn server(
    shop: &Workshop,
    run: RunId,
    environment: &Environment,
    image: &Image,
    purpose: &str,
) -> Result<Server, JobError> {
    let labels = Labels::environment(run, environment.id);
    let network = shop.docker.ensure_network(&names::environment_network(environment.id), labels).await?;
    let name = names::container(environment.id, purpose);
    let arguments = vec![launch::config_option()];
    let mut spec = odoo_container(shop, run, environment, image, name, arguments);
    spec.network = Some(network.name.clone());
    spec.logs = LogRotation::Server;
    spec.restart = true;
    let id = shop.docker.create_container(&spec).await?;
    shop.docker.start_container(&id).await?;
    let address = address(shop, environment, &id).await?;
    let address = address
        .ok_or_else(|| JobError::fail("The server ended as soon as it was started; its log says why."))?;
    Ok(Server { id, address })
}

/// Where a container of the environment answers; None while it does not run.
pub async fn address(
    shop: &Workshop,
    environment: &Environment,
    container: &str,
) -> Result<Option<IpAddr>, JobError> {
    let network = names::environment_network(environment.id);
    let container = shop.docker.container(container).await?;
    Ok(container.and_then(|container| container.addresses.get(&network).copied()))
}
