//! `ops work`: the role that builds.

mod files;
mod places;
pub mod private;
mod shell;

use crate::{Failure, socket_file::SocketFile};
use odooops::{
    config::Config,
    docker::{Docker, DockerConfig},
    git::{Git, GitSettings, Repositories},
    id::InstallationId,
    node::{Identity, machine_name},
    postgres::{Tenants, ops},
    run::job::{Stop, Workshop, work},
    schedule::keep_leading,
    urls::Urls,
};
use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// They are told to hang up, then killed.
const SHELLS_END_WITHIN: Duration = Duration::from_secs(5);

/// Builds until SIGTERM or Ctrl-C, then finishes what it holds or, at the second, hands it back.
pub async fn run(config: Config) -> Result<ExitCode, Failure> {
    // One for each build and its heartbeat, and some for collectors.
    let connections = u32::try_from(config.worker_concurrency)?.saturating_mul(2) + 6;
    let pool = ops::pool(&config, ops::Role::Worker, connections)?;
    let installation: InstallationId =
        sqlx::query_scalar!("select id from ops.installation").fetch_one(&pool).await?.into();
    for folder in [config.environments_dir(), config.templates_dir()] {
        std::fs::create_dir_all(folder)?;
    }
    let docker = Docker::connect(DockerConfig {
        socket: docker_socket(&config),
        installation,
        mount_roots: vec![config.environments_dir(), config.templates_dir(), config.tenants_socket_dir()],
        subnets: config.environment_subnets,
    })
    .await
    .map_err(|error| format!("{error}. Start Docker, or name its socket with --docker-host."))?;
    let shop = Workshop {
        docker,
        tenants: Tenants::open(&config, installation)?,
        repositories: Repositories::new(Git::open(GitSettings::of(&config)?).await?),
        urls: Urls::of(&config),
        // One worker per machine: after a restart it finds its own runs again.
        name: machine_name(&config)?,
        changed: Arc::default(),
        pool,
        config: Arc::new(config),
    };
    let stop = stopped_by_signal()?;
    let private = private::Private::new(
        shop.pool.clone(),
        shop.docker.clone(),
        shop.config.clone(),
        stop.at_once.clone(),
    );
    let shells = private.tracker.clone();
    // Open while the last runs are finished, too.
    let listening = SocketFile::bind(&shop.config.worker_socket())?;
    let listening = listening.listen(private::router(private), &stop.at_once);
    let docker = shop.docker.clone();
    let listening = tokio::spawn(async move {
        // Before there are any of ours.
        match docker.end_abandoned_shells().await {
            Ok(0) => {}
            Ok(ended) => tracing::warn!(ended, "shells of a worker that was killed were ended"),
            Err(error) => tracing::warn!(%error, "shells that a worker left cannot be looked for"),
        }
        listening.await
    });
    tracing::info!(worker = %shop.name, "waiting for runs");
    // The console's machine leads.
    let leads = Identity::of(&shop.config)?.is_none();
    let leading = keep_leading(shop.pool.clone(), shop.name.clone(), stop.drain.clone());
    let leading = tokio::spawn(async move {
        if leads {
            leading.await;
        }
    });
    let worked = work(shop, stop.clone()).await;
    stop.at_once.cancel();
    let _ = leading.await;
    shells.close();
    if tokio::time::timeout(SHELLS_END_WITHIN, shells.wait()).await.is_err() {
        tracing::warn!("some shells have not ended in time");
    }
    listening.abort();
    worked?;
    Ok(ExitCode::SUCCESS)
}

/// The first signal drains, the second ends.
fn stopped_by_signal() -> Result<Stop, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = Stop::new();
    let told = stop.clone();
    tokio::spawn(async move {
        for token in [told.drain, told.at_once] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(stop)
}

/// The configuration knows Unix sockets only.
fn docker_socket(config: &Config) -> PathBuf {
    let socket = config.docker_host.as_deref().and_then(|host| host.strip_prefix("unix://"));
    PathBuf::from(socket.unwrap_or("/var/run/docker.sock"))
}
