//! `ops serve`: the console and the API. Two Unix sockets: `serve.sock`, which the proxy forwards browsers to, and
//! `ops.sock`, on which everybody who can open it is the platform administrator. Optionally a TCP port, for those who
//! bring a reverse proxy of their own.

use crate::{
    Failure,
    http::{self, Web},
    socket_file::SocketFile,
};
use clap::Args;
use odooops::{
    config::Config,
    git::{Git, GitSettings, Repositories, keep_reconciling},
    postgres,
};
use std::{net::SocketAddr, process::ExitCode, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Connections to the ops database. Requests are short; sockets and streams hold none while they wait.
const CONNECTIONS: u32 = 12;
/// How often repositories are compared with what is recorded of them, and remotes are fetched.
const RECONCILE: Duration = Duration::from_secs(60);
/// What is still being answered when the process is asked to end gets this long.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Also listens here, without the proxy.
    #[arg(long, value_name = "ADDRESS")]
    tcp: Option<SocketAddr>,
}

pub async fn run(config: Config, args: ServeArgs) -> Result<ExitCode, Failure> {
    let ending = CancellationToken::new();
    end_on_signal(&ending)?;
    let pool = postgres::ops::pool(&config, postgres::ops::Role::Web, CONNECTIONS)?;
    let git = Git::open(GitSettings::of(&config)?).await?;
    let build = http::build_id(&config.site_root);
    let web = Web::new(config, pool, Repositories::new(git), build, ending.clone());

    // The binary may have moved since the last start.
    web.repositories.refresh_hooks()?;
    let reconciling = tokio::spawn(keep_reconciling(web.pool.clone(), web.repositories.clone(), RECONCILE));

    let mut serving = JoinSet::new();
    let listening = (web.live.clone(), web.pool.clone(), ending.clone());
    let listening = tokio::spawn(async move { listening.0.listen(&listening.1, &listening.2).await });

    let browsers = SocketFile::bind(&web.config.serve_socket())?;
    let operators = SocketFile::bind(&web.config.ops_socket())?;
    if let Some(address) = args.tcp {
        let listener = TcpListener::bind(address).await?;
        tracing::info!(address = %listener.local_addr()?, "listening");
        let router = http::console(&web).into_make_service_with_connect_info::<SocketAddr>();
        let serve = axum::serve(listener, router).with_graceful_shutdown(ending.clone().cancelled_owned());
        serving.spawn(serve.into_future());
    }
    let (browsers, mine) = (browsers.listen(http::console_behind_proxy(&web), &ending), operators);
    serving.spawn(browsers);
    serving.spawn(mine.listen(http::socket(&web), &ending));
    tracing::info!(serve = %web.config.serve_socket().display(), "serving");

    // Each ends only when it is told to, or when it cannot go on.
    let first = serving.join_next().await;
    let failed = !ending.is_cancelled();
    ending.cancel();
    let rest = timeout(LAST_ANSWERS, async { while serving.join_next().await.is_some() {} }).await;
    if rest.is_err() {
        tracing::warn!("some answers were not finished in time");
    }
    if timeout(LAST_ANSWERS, web.refusals.written()).await.is_err() {
        tracing::warn!("the last refusals may be missing from the audit log");
    }
    listening.abort();
    reconciling.abort();
    web.pool.close().await;
    match first {
        Some(Ok(Err(error))) if failed => Err(error.into()),
        Some(Err(error)) => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn end_on_signal(ending: &CancellationToken) -> std::io::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ending = ending.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        ending.cancel();
    });
    Ok(())
}
