//! The two kinds of server behind the proxy, and the connections kept open to them.

use super::{body::Body, route::Node};
use crate::node::NodeName;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Builder, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use hyperlocal::UnixConnector;
use rustls::ClientConfig;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// An idle connection is kept no longer than a browser needs to load a page's parts.
const IDLE: Duration = Duration::from_secs(10);
const IDLE_CONNECTIONS: usize = 16;
/// Also what is read ahead of a slow client per connection.
const BUFFER: usize = 128 * 1024;

/// One container. The pool belongs to it alone: a container's address is given to another one after it, and no
/// request may travel over a connection that was opened to its predecessor.
#[derive(Debug)]
pub struct Upstream {
    pub address: Target,
    pub client: UpstreamClient,
    /// Requests and websockets it may have at a time.
    pub slots: Arc<Semaphore>,
}

impl Upstream {
    pub fn new(address: SocketAddr, connect_timeout: Duration, slots: usize) -> Self {
        let client = UpstreamClient::Here(pooled().build(connector(connect_timeout)));
        Self { address: Target::Here(address), client, slots: Arc::new(Semaphore::new(slots)) }
    }

    /// On another machine, whose proxy finds the container.
    pub fn on_node(node: &Node, tls: ClientConfig, connect_timeout: Duration, slots: usize) -> Self {
        let mut tcp = connector(connect_timeout);
        tcp.enforce_http(false);
        // The certificate says which machine it is; its address may be anything.
        let name = NodeName::Environments(node.host).server_name();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(name))
            .enable_http1()
            .wrap_connector(tcp);
        Self {
            address: Target::Node(node.address.clone()),
            client: UpstreamClient::Node(pooled().build(connector)),
            slots: Arc::new(Semaphore::new(slots)),
        }
    }
}

/// What is dialled.
#[derive(Debug, Clone)]
pub enum Target {
    Here(SocketAddr),
    /// `host:port` of another machine's proxy.
    Node(String),
}

#[derive(Debug)]
pub enum UpstreamClient {
    Here(Client<HttpConnector, Body>),
    Node(Client<HttpsConnector<HttpConnector>, Body>),
}

fn connector(connect_timeout: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(connect_timeout));
    connector.set_nodelay(true);
    // Finds out about a container that vanished under a quiet websocket.
    connector.set_keepalive(Some(Duration::from_secs(30)));
    connector.set_keepalive_interval(Some(Duration::from_secs(10)));
    connector.set_keepalive_retries(Some(3));
    connector
}

pub fn console_client() -> Client<UnixConnector, Body> {
    pooled().build(UnixConnector)
}

fn pooled() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_max_buf_size(BUFFER)
        .http1_max_headers(256)
        // The real Host header is passed on.
        .set_host(false);
    builder
}
