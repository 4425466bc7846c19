//! Environments on another machine: the front proxy, TLS with both certificates, that machine's proxy, the container.

use super::{Proxy, Seen, connect, mirror, options, request, route, text, upstream, websockets};
use crate::{
    config::{Config, Flags},
    environment::EnvironmentState,
    id::{HostId, InstallationId},
    node::{Authority, Keys, Listener, authority::PublicKey},
    proxy::{BaseDomain, Node, Nodes, Route, Routes, exchange::Exchange, nodes},
};
use axum::extract::DefaultBodyLimit;
use futures::{SinkExt, StreamExt};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use std::{collections::BTreeMap, net::SocketAddr};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;

struct Installation {
    authority: Authority,
    _dir: TempDir,
}

impl Installation {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = BTreeMap::from([("data_dir", dir.path().display().to_string())]);
        let config = Config::load(&Flags { file: None, keys }, |_| None).unwrap();
        Self { authority: Authority::load_or_create(&config, InstallationId::new()).unwrap(), _dir: dir }
    }

    fn host(&self, host: HostId) -> Keys {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let public = PublicKey::parse(key.public_key_raw().to_vec()).unwrap();
        let certificate = self.authority.vouch(host, &public).unwrap();
        Keys::parse(&certificate, &key.serialize_pem(), &self.authority.certificate).unwrap()
    }
}

/// A joined machine's proxy.
struct Joined {
    host: HostId,
    address: SocketAddr,
    routes: Routes,
    worker: std::path::PathBuf,
    stop: CancellationToken,
    served: JoinHandle<()>,
    _folder: TempDir,
}

impl Joined {
    async fn start(installation: &Installation) -> Self {
        let (host, folder, stop) = (HostId::new(), tempfile::tempdir().unwrap(), CancellationToken::new());
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let listener = Listener::of_host(tcp, installation.host(host)).unwrap();
        let options = options(folder.path()).joined(host);
        let routes = Routes::new(options.limits.connect_timeout, 8);
        let base = BaseDomain::parse(&options.urls.base_domain).unwrap();
        let exchange = Exchange::new(options, base, routes.clone(), stop.clone());
        let worker = folder.path().join("worker.sock");
        let serving = nodes::serve(listener, host, worker.clone(), exchange, stop.clone());
        let served = tokio::spawn(async move { serving.await.unwrap() });
        Self { host, address, routes, worker, stop, served, _folder: folder }
    }

    fn node(&self) -> Node {
        Node { host: self.host, address: self.address.to_string() }
    }
}

async fn front(keys: Keys) -> Proxy {
    let mut proxy = Proxy::start().await;
    // The console's machine's keys, whatever is on its disk.
    proxy.routes = proxy.routes.clone().with_nodes(Nodes::with(keys).unwrap());
    proxy
}

#[tokio::test]
async fn threat_hosts_an_environment_elsewhere_is_reached_through_its_machines_proxy() {
    let installation = Installation::new();
    let joined = Joined::start(&installation).await;
    let proxy = front(installation.authority.own().unwrap()).await;
    let measure = axum::routing::post(async |body: bytes::Bytes| body.len().to_string());
    let server = mirror().route("/upload", measure).layer(DefaultBodyLimit::disable());
    let there = route("env", EnvironmentState::Running, Some(upstream(server).await));
    joined.routes.replace(vec![there.clone()]);
    proxy.routes.replace(vec![Route { node: Some(joined.node()), ..there.clone() }]);

    let response = proxy.get("env.localhost:3000", "/web/login?x=1").await;
    let seen = Seen::by(&response);
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("GET", "/web/login?x=1"));
    assert_eq!(seen.all("host"), ["env.localhost:3000"]);
    // The client, not the machine between.
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    let mut big = connect(proxy.address).await;
    let body = "x".repeat(3 << 20);
    let echoed = super::collect(
        big.send_request(request("POST", "env.localhost:3000", "/upload", body)).await.unwrap(),
    )
    .await;
    assert_eq!((echoed.status().as_u16(), text(&echoed)), (200, "3145728"));

    let chat = route("chat", EnvironmentState::Running, Some(upstream(websockets::echo("odoo")).await));
    joined.routes.replace(vec![there.clone(), chat.clone()]);
    proxy.routes.replace(vec![Route { node: Some(joined.node()), ..chat }]);
    let mut socket = websockets::open(&proxy, "chat.localhost", "/websocket").await.unwrap();
    let hello = websockets::next(&mut socket).await.unwrap().unwrap();
    assert_eq!(hello.to_text().unwrap(), "odoo websocket chat.localhost session_id=o");
    let long = Message::binary(vec![7; 4 << 20]);
    socket.send(long.clone()).await.unwrap();
    assert!(websockets::next(&mut socket).await.unwrap().unwrap() == long);

    // Another environment's name leads nowhere there, whatever the front believes.
    let other = Route { hostname: "other".to_owned(), node: Some(joined.node()), ..there };
    proxy.routes.replace(vec![other]);
    assert_eq!(proxy.get("other.localhost:3000", "/").await.status(), 404);
    joined.stop.cancel();
    joined.served.await.unwrap();
}

#[tokio::test]
async fn threat_hosts_only_the_consoles_machine_of_the_same_installation_is_let_in() {
    let (installation, foreign) = (Installation::new(), Installation::new());
    let (joined, sibling) = (Joined::start(&installation).await, HostId::new());
    let there = route("env", EnvironmentState::Running, Some(upstream(mirror()).await));
    joined.routes.replace(vec![there.clone()]);
    for (who, keys) in [
        ("the console's machine of another installation", foreign.authority.own().unwrap()),
        ("a machine that joined too", installation.host(sibling)),
    ] {
        let proxy = front(keys).await;
        proxy.routes.replace(vec![Route { node: Some(joined.node()), ..there.clone() }]);
        let response = proxy.get("env.localhost:3000", "/").await;
        assert_eq!(response.status(), 502, "{who}: {}", text(&response));
    }
    // The right keys, and another machine at the address.
    let proxy = front(installation.authority.own().unwrap()).await;
    let elsewhere = Node { host: HostId::new(), address: joined.address.to_string() };
    proxy.routes.replace(vec![Route { node: Some(elsewhere), ..there }]);
    assert_eq!(proxy.get("env.localhost:3000", "/").await.status(), 502);
    // No TLS at all.
    let mut plain = TcpStream::connect(joined.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: env.localhost:3000\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"));
}

#[tokio::test]
async fn the_private_listener_of_another_machines_worker_is_reached_by_name() {
    let installation = Installation::new();
    let joined = Joined::start(&installation).await;
    let socket = UnixListener::bind(&joined.worker).unwrap();
    let router = axum::Router::new()
        .route("/secret", axum::routing::get(async || "it"))
        .nest("/echo", websockets::echo("worker"));
    tokio::spawn(axum::serve(socket, router).into_future());
    let there = crate::node::query::Whereabouts { host: joined.host, address: joined.address.to_string() };
    let reach = |keys| crate::node::Reach::new("/nonexistent".into(), Some(keys)).unwrap();
    let own = reach(installation.authority.own().unwrap());
    assert_eq!(own.ask(Some(&there), "/secret").await.unwrap(), "it");
    assert!(own.ask(Some(&there), "/other").await.is_err());
    // Both ways at once, for as long as both like: terminals.
    let upgraded = own.upgrade(Some(&there), "/echo/websocket").await.unwrap().unwrap();
    let mut terminal = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    let hello = terminal.next().await.unwrap().unwrap();
    assert!(hello.to_text().unwrap().starts_with("worker"), "{hello}");
    let long = Message::binary(vec![7; 4 << 20]);
    terminal.send(long.clone()).await.unwrap();
    assert!(terminal.next().await.unwrap().unwrap() == long);
    let refused = own.upgrade(Some(&there), "/secret").await.unwrap();
    assert_eq!(refused.err(), Some(http::StatusCode::OK), "not a websocket");
    for keys in [installation.host(HostId::new()), Installation::new().authority.own().unwrap()] {
        let reach = reach(keys);
        assert!(reach.ask(Some(&there), "/secret").await.is_err());
        assert!(reach.upgrade(Some(&there), "/echo/websocket").await.is_err());
    }
    assert!(own.ask(None, "/secret").await.is_err(), "there is no worker here");
}
