//! The two kinds of server behind the proxy, and the connections kept open to them.

use super::body::Body;
use hyper_util::{
    client::legacy::{Builder, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use hyperlocal::UnixConnector;
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
    pub address: SocketAddr,
    pub client: Client<HttpConnector, Body>,
    /// Requests and websockets it may have at a time.
    pub slots: Arc<Semaphore>,
}

impl Upstream {
    pub fn new(address: SocketAddr, connect_timeout: Duration, slots: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(connect_timeout));
        connector.set_nodelay(true);
        // Finds out about a container that vanished under a quiet websocket.
        connector.set_keepalive(Some(Duration::from_secs(30)));
        connector.set_keepalive_interval(Some(Duration::from_secs(10)));
        connector.set_keepalive_retries(Some(3));
        Self { address, client: pooled().build(connector), slots: Arc::new(Semaphore::new(slots)) }
    }
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
