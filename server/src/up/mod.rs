//! `ops up`: everything on one machine. It starts the two clusters, migrates, then keeps three processes running,
//! each of which can die and come back without the others noticing: `ops proxy`, `ops serve`, `ops work`.
//!
//! One supervisor per data directory holds its lock. When the supervisor itself is killed, the roles see their
//! standard input close and end; the clusters go on until the next start, which stops them first.

mod keep;
mod lock;
mod log;
pub mod parent;
mod prepare;
mod ready;
mod role;

use crate::Failure;
use keep::{Kept, Unit, keep};
use log::Log;
use odooops::{
    config::Config,
    node::Identity,
    postgres::{Cluster, Kind},
};
use role::Role;
use std::{process::ExitCode, time::Duration};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Until SIGTERM or Ctrl-C. What was started is stopped in reverse order, however far it came: first the worker, which
/// finishes what it began as far as its grace allows, or hands it back at the second signal.
pub async fn run(config: Config, flags: Vec<String>) -> Result<ExitCode, Failure> {
    prepare::folders(&config)?;
    let _lock = lock::hold(&config.lock_file())?;
    let log = Log::open(config.logs_dir())?;
    let (stop, hurry) = stopped_by_signals()?;
    let mut units = Vec::new();
    let outcome = start(&config, flags, &log, &stop, &mut units).await;
    if outcome.is_ok() {
        stop.cancelled().await;
        log.say("stopping");
    }
    for unit in units.into_iter().rev() {
        unit.stop(&hurry).await;
    }
    log.say("stopped");
    log.close().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn start(
    config: &Config,
    flags: Vec<String>,
    log: &Log,
    stop: &CancellationToken,
    units: &mut Vec<Kept>,
) -> Result<(), Failure> {
    // Longer than a worker's grace, so that what it hands back then is handed back.
    let patience = Duration::from_secs(config.drain_seconds.max(10) + 20);
    if let Some(identity) = Identity::of(config)? {
        // The console, its database and its git are on another machine.
        units.extend(cluster(config, Kind::Tenants, false, log).await?);
        for subcommand in ["node", "proxy", "work"] {
            if stop.is_cancelled() {
                return Ok(());
            }
            let role = Role::new(subcommand, flags.clone(), patience, None)?;
            units.push(keep(Unit::Role(role), log).await?);
        }
        log.say(&format!("this machine is the host {} of {}", identity.name, identity.control));
        return Ok(());
    }
    let (control, tenants) = tokio::try_join!(
        cluster(config, Kind::Control, config.database_url.is_some(), log),
        cluster(config, Kind::Tenants, false, log),
    )?;
    // Both are in the list before anything else can fail, so that neither is left running.
    units.extend([tenants, control].into_iter().flatten());
    prepare::databases(config, log).await?;
    let listener = role::listen(config.listen)?;
    let others = config.node_listen.map(|_| ("node", None));
    let roles =
        [("proxy", Some(listener)), ("serve", None)].into_iter().chain(others).chain([("work", None)]);
    for (subcommand, listener) in roles {
        if stop.is_cancelled() {
            return Ok(());
        }
        let role = Role::new(subcommand, flags.clone(), patience, listener)?;
        units.push(keep(Unit::Role(role), log).await?);
    }
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        told = ready::announce(config, log) => told,
    }
}

async fn cluster(config: &Config, kind: Kind, is_external: bool, log: &Log) -> Result<Option<Kept>, Failure> {
    if is_external {
        return Ok(None);
    }
    let cluster = match kind {
        Kind::Control => Cluster::control(config).await?,
        Kind::Tenants | Kind::Throwaway => Cluster::tenants(config).await?,
    };
    let begun = tokio::time::Instant::now();
    let name = kind.name();
    log.say(&format!("starting PostgreSQL ({name})"));
    let kept = keep(Unit::Cluster(cluster.clone()), log).await?;
    let bootstrapped = prepare::roles(config, &cluster).await;
    if let Err(failure) = bootstrapped {
        kept.stop(&CancellationToken::new()).await;
        return Err(failure);
    }
    log.say(&format!("PostgreSQL ({name}) is ready after {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(Some(kept))
}

/// The first signal stops, the second hurries.
fn stopped_by_signals() -> Result<(CancellationToken, CancellationToken), Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let tokens = (CancellationToken::new(), CancellationToken::new());
    let told = tokens.clone();
    tokio::spawn(async move {
        for token in [told.0, told.1] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(tokens)
}
