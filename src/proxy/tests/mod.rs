//! The proxy as a whole, with real servers on loopback behind it.

mod database;
mod environments;
mod hosts;
mod limits;
mod nodes;
mod outages;
mod streams;
mod websockets;

use super::{BaseDomain, Limits, Nodes, ProxyOptions, Route, Routes, exchange::Exchange, listener};
use crate::{environment::EnvironmentState, id::EnvironmentId, project::Slug, urls::Urls};
use axum::{Json, Router, extract::Request as AxumRequest, routing::any};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy on a port of its own, routed by hand.
struct Proxy {
    address: SocketAddr,
    routes: Routes,
    folder: TempDir,
    stop: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
}

impl Proxy {
    async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        Self::with_options(|options| options.limits = limits).await
    }

    async fn with_options(change: impl FnOnce(&mut ProxyOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(folder.path());
        change(&mut options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Routes::new(options.limits.connect_timeout, options.limits.requests_per_environment);
        let stop = CancellationToken::new();
        let base = BaseDomain::parse(&options.urls.base_domain).unwrap();
        let exchange = Exchange::new(options, base, routes.clone(), stop.clone());
        let served = tokio::spawn(listener::serve(listener, exchange, stop.clone()));
        Self { address, routes, folder, stop, served }
    }

    /// Routes `env.localhost` to this address, and nothing else.
    fn route(&self, address: SocketAddr) -> Route {
        let route = route("env", EnvironmentState::Running, Some(address));
        self.routes.replace(vec![route.clone()]);
        route
    }

    async fn get(&self, host: &str, path: &str) -> Response<Bytes> {
        self.send(request("GET", host, path, "")).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        collect(self.open(request).await).await
    }

    /// The response with its body still on the way.
    async fn open(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let mut client = connect(self.address).await;
        tokio::time::timeout(PATIENCE, client.send_request(request)).await.unwrap().unwrap()
    }

    /// What the proxy answers to these bytes until it closes the connection.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }
}

fn options(folder: &Path) -> ProxyOptions {
    ProxyOptions {
        urls: Urls { scheme: "http".to_owned(), base_domain: "localhost:3000".to_owned() },
        console_socket: folder.join("serve.sock"),
        routes_file: folder.join("proxy/routes.json"),
        trusted_proxies: Vec::new(),
        nodes: Nodes::default(),
        joined: None,
        limits: Limits::default(),
    }
}

fn route(hostname: &str, state: EnvironmentState, address: Option<SocketAddr>) -> Route {
    Route {
        environment_id: EnvironmentId::new(),
        hostname: hostname.to_owned(),
        project: Slug::parse("library").unwrap(),
        run_id: None,
        state,
        container_id: None,
        address,
        websocket_port: None,
        node: None,
    }
}

fn request(method: &str, host: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("accept", "text/html")
        .body(Full::new(body.into()))
        .unwrap()
}

async fn connect<B>(address: SocketAddr) -> http1::SendRequest<B>
where
    B: hyper::body::Body<Error: Into<super::body::BoxError>, Data: Send> + Send + 'static,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn collect(response: Response<Incoming>) -> Response<Bytes> {
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
    Response::from_parts(parts, body)
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

/// A server on loopback, as a container would be.
async fn upstream(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

/// The console on its socket.
fn console(socket: PathBuf, router: Router) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

/// Tells what it received.
fn mirror() -> Router {
    Router::new().fallback(any(|request: AxumRequest| async move {
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("?").to_owned()))
            .collect();
        Json(Seen { method: request.method().to_string(), uri: request.uri().to_string(), headers })
    }))
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Seen {
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
}

impl Seen {
    fn by(response: &Response<Bytes>) -> Self {
        serde_json::from_slice(response.body()).unwrap_or_else(|_| panic!("{response:?}"))
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// Does the work when it is dropped: tells that a handler or a body was given up.
fn on_drop(work: impl FnMut()) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(work)
}
