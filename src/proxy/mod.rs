//! The proxy: one listener before the console and every environment.
//!
//! It is a process of its own because production's traffic must not die with the console. So it depends on
//! nothing that may be down: the console is a Unix socket that is dialled per request, the routes are a table in
//! memory (`route`) that PostgreSQL refreshes (`refresh`) and of which a copy lies on disk (`copy`).
//!
//! A request goes through `listener` (connections, limits, draining), `site` (whose host is this?), `exchange`
//! (console, environment or page), and from there through `forward` (bodies stream both ways, a reader that lags
//! holds its writer back) or `tunnel` (websockets). `headers` and `cookies` are the rules that keep foreign code
//! in an environment away from the console's session, and the client away from what only a proxy may say.

mod admission;
mod answer;
mod body;
mod cookies;
mod copy;
mod exchange;
mod forward;
mod headers;
mod listener;
mod nodes;
mod page;
mod refresh;
mod route;
mod site;
#[cfg(test)]
mod tests;
mod tunnel;
mod upstream;

use crate::{config::Config, id::HostId, node, urls::Urls};
use exchange::Exchange;
use ipnet::IpNet;
use sqlx::PgPool;
use std::{path::PathBuf, time::Duration};
use tokio::{net::TcpListener, task::AbortHandle};
use tokio_util::sync::CancellationToken;

pub use nodes::Nodes;
pub use route::{Node, Route, Routes};
pub use site::BaseDomain;

/// The console's session cookie: the first name under https, the second where browsers refuse the prefix. No
/// environment ever sees or sets them.
pub const CONSOLE_COOKIES: [&str; 2] = ["__Host-ops_session", "ops_session"];

/// Answered by the proxy itself, on every host.
pub const HEALTH_PATH: &str = "/.ops/proxy/healthz";

#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// The console's base domain, of which environments are subdomains, and where links on pages lead.
    pub urls: Urls,
    /// Where `ops serve` listens.
    pub console_socket: PathBuf,
    /// The copy of the routes for when the ops database does not answer.
    pub routes_file: PathBuf,
    /// Peers whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How other machines of the installation are called.
    pub nodes: Nodes,
    /// Set where this machine is one of those: then it serves its own environments only.
    pub joined: Option<HostId>,
    pub limits: Limits,
}

impl From<&Config> for ProxyOptions {
    fn from(config: &Config) -> Self {
        Self {
            urls: Urls::of(config),
            console_socket: config.serve_socket(),
            routes_file: config.routes_file(),
            trusted_proxies: config.trusted_proxies.clone(),
            nodes: Nodes::of(config),
            joined: None,
            limits: Limits::default(),
        }
    }
}

/// Every bound of the proxy. The defaults are for production; tests shorten them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open client connections, websockets among them. Beyond it, new ones wait in the kernel's queue.
    pub connections: usize,
    /// Open connections of one client address, unless it is a trusted proxy.
    pub connections_per_address: usize,
    /// Requests and websockets that one environment may have at a time, so that it cannot starve the others.
    pub requests_per_environment: usize,
    /// Request line and headers together.
    pub header_bytes: usize,
    pub header_count: usize,
    /// From the first byte of a request (or the end of the one before) to the end of its headers.
    pub header_timeout: Duration,
    /// The longest silence in the middle of a request body.
    pub body_idle_timeout: Duration,
    /// How long a client may refuse to take what is ready for it.
    pub write_timeout: Duration,
    pub connect_timeout: Duration,
    /// From the request to the response's headers. Long: reports and imports take minutes.
    pub response_timeout: Duration,
    /// How long a request waits for a restarting container before it is tried once more.
    pub retry_after: Duration,
    /// How long requests under way may take to end after a request to stop.
    pub drain: Duration,
    /// How often the routes are read although nothing was announced.
    pub poll: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 1024,
            requests_per_environment: 512,
            header_bytes: 64 * 1024,
            header_count: 128,
            header_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(3600),
            retry_after: Duration::from_millis(700),
            drain: Duration::from_secs(10),
            poll: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("base domain {0:?} is no host name: write example.com or example.com:3000")]
    BaseDomain(String),
    #[error("the proxy's listener does not work: {0}")]
    Listener(#[from] std::io::Error),
}

/// Serves until `stop`, then drains. The database may be down at any time, at the start too.
pub async fn run(
    listener: TcpListener,
    options: ProxyOptions,
    database: PgPool,
    stop: CancellationToken,
) -> Result<(), ProxyError> {
    let (exchange, following) = routed(options, database, &stop).await?;
    let served = listener::serve(listener, exchange, stop).await;
    following.abort();
    Ok(served?)
}

/// The same on a joined machine: its only client is the console's machine.
pub async fn run_joined(
    listener: node::Listener,
    host: HostId,
    worker_socket: PathBuf,
    options: ProxyOptions,
    database: PgPool,
    stop: CancellationToken,
) -> Result<(), ProxyError> {
    let (exchange, following) = routed(options.joined(host), database, &stop).await?;
    let served = nodes::serve(listener, host, worker_socket, exchange, stop).await;
    following.abort();
    served
}

/// With the routes of the last life, and those of the database from now on.
async fn routed(
    options: ProxyOptions,
    database: PgPool,
    stop: &CancellationToken,
) -> Result<(Exchange, AbortHandle), ProxyError> {
    let base = BaseDomain::parse(&options.urls.base_domain)
        .ok_or_else(|| ProxyError::BaseDomain(options.urls.base_domain.clone()))?;
    let routes = Routes::new(options.limits.connect_timeout, options.limits.requests_per_environment)
        .with_nodes(options.nodes.clone());
    let refresh = refresh::Refresh {
        database,
        routes: routes.clone(),
        file: options.routes_file.clone(),
        poll: options.limits.poll,
        joined: options.joined,
    };
    refresh.load_copy().await;
    let following = tokio::spawn(refresh.follow(stop.clone())).abort_handle();
    Ok((Exchange::new(options, base, routes, stop.clone()), following))
}
