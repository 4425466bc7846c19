//! `ops node`: what machines of one installation say to each other. On the console's machine it listens for the others
//! (`node_listen`); on a joined machine it relays the ops database. A process of its own, so that a restart of the
//! console cuts no worker off.

mod http;
mod sources;

use crate::Failure;
use http::Door;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use odooops::{
    config::Config,
    git::{Git, GitSettings, Repositories},
    id::InstallationId,
    node::{Authority, Guest, Identity, Listener, NodeName, Reach, Visitor, relay},
    postgres::{
        Announcements,
        ops::{self, Role},
    },
};
use std::{process::ExitCode, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// A host was revoked, or joined again.
const HOSTS: &str = "ops_hosts";
/// What was not announced is found by looking.
const LOOK: Duration = Duration::from_secs(30);
/// From the first byte of a request to the end of its headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// One small request, which the other machine has ready.
const JOINING: Duration = Duration::from_secs(10);
/// An image over a slow line.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

pub async fn run(config: Config) -> Result<ExitCode, Failure> {
    let stop = stopped_by_signal()?;
    match Identity::of(&config)? {
        Some(identity) => relay::listen(&config, &identity, stop).await?,
        None => control(config, stop).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// On the console's machine.
async fn control(config: Config, stop: CancellationToken) -> Result<(), Failure> {
    let address = config.node_listen.ok_or("set node_listen to the address that other machines reach")?;
    let pool = ops::pool(&config, Role::Web, 8)?;
    let installation: InstallationId =
        sqlx::query_scalar!("select id from ops.installation").fetch_one(&pool).await?.into();
    let authority = Authority::load_or_create(&config, installation)?;
    let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
    let listener = Listener::of_control(listener, authority.own()?, pool.clone())?;
    tracing::info!(%address, "other machines may connect");

    let announcements = Announcements::listen(&pool, &[HOSTS], stop.clone());
    if let Some(open) = listener.open() {
        let (pool, mut heard) = (pool.clone(), announcements.subscribe());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                _ = tokio::time::timeout(LOOK, heard.on(HOSTS)).await;
                open.judge_again(&pool).await;
            }
        }));
    }
    let database = relay::Database::of(&config)?;
    let reach = Reach::new(config.worker_socket(), None)?;
    let repositories = Repositories::new(Git::open(GitSettings::of(&config)?).await?);
    let door = Door { pool, authority: Arc::new(authority), repositories, reach, config: Arc::new(config) };
    let welcome = move |visitor: Visitor| {
        let (door, database) = (door.clone(), database.clone());
        async move {
            let guest = visitor.guest.clone();
            if let Err(cause) = serve(visitor, &door, &database).await {
                tracing::debug!(?guest, %cause, "a machine's connection ended");
            }
        }
    };
    listener.serve(stop, welcome).await;
    Ok(())
}

async fn serve(visitor: Visitor, door: &Door, database: &relay::Database) -> Result<(), Failure> {
    if visitor.called == NodeName::Postgres.to_string() {
        return match visitor.guest {
            Guest::Host(_) => Ok(database.serve(visitor.stream).await?),
            Guest::Stranger | Guest::Control => Err("only hosts that joined reach the database".into()),
        };
    }
    // Who only asks to join needs no longer than that.
    let longest = if visitor.guest == Guest::Stranger { JOINING } else { LONGEST };
    let router = http::router(door.clone(), visitor.guest);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN.min(longest))
        .max_headers(64)
        .serve_connection(TokioIo::new(visitor.stream), TowerToHyperService::new(router));
    Ok(timeout(longest, served).await??)
}

fn stopped_by_signal() -> Result<CancellationToken, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
    });
    Ok(stop)
}
