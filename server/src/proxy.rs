//! `ops proxy`: the role that browsers reach. It needs nothing else to be up.

use crate::Failure;
use listenfd::ListenFd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use odooops::{
    config::Config,
    node::{self, Identity},
    postgres::ops,
    proxy,
};
use sqlx::postgres::PgConnectOptions;
use std::{net::SocketAddr, process::ExitCode};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

const BACKLOG: u32 = 1024;

/// Serves until SIGTERM or Ctrl-C, then drains. `database` logs in as `ops_worker`; nothing is dialled here, so it
/// may be down.
pub async fn run(config: &Config, database: PgConnectOptions) -> Result<ExitCode, Failure> {
    raise_file_limit();
    // One connection reads; the one that listens is besides.
    let database = ops::connect(database.application_name("ops proxy"), 1);
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
    });
    if let Some(identity) = Identity::of(config)? {
        let address = config.node_listen.unwrap_or(identity.listen);
        let listener = listener(address)?;
        tracing::info!(%address, console = %identity.control, "the proxy serves the console's machine");
        let listener = node::Listener::of_host(listener, Identity::keys(config)?)?;
        let worker = config.worker_socket();
        proxy::run_joined(listener, identity.host, worker, config.into(), database, stop).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let listener = listener(config.listen)?;
    tracing::info!(address = %listener.local_addr()?, base_domain = %config.base_domain, "the proxy serves");
    proxy::run(listener, config.into(), database, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// The socket that the supervisor or systemd holds open over restarts (`LISTEN_FDS`), so that no connection is
/// refused meanwhile; else one of our own.
fn listener(address: SocketAddr) -> Result<TcpListener, Failure> {
    if let Some(listener) = ListenFd::from_env().take_tcp_listener(0)? {
        listener.set_nonblocking(true)?;
        return Ok(TcpListener::from_std(listener)?);
    }
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart finds connections of its predecessor still closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address).map_err(|error| format!("{address} is not free: {error}"))?;
    Ok(socket.listen(BACKLOG)?)
}

/// Every request takes two file descriptors; the usual soft limit is 1024.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
