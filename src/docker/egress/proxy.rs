use super::{AllowList, EgressError};
use crate::docker::Subnet;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What one build may use of the way out.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub connections: usize,
    /// Both directions of all connections together.
    pub bytes: i64,
    /// Of one connection.
    pub lifetime: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 32, bytes: 4 * 1024 * 1024 * 1024, lifetime: Duration::from_secs(15 * 60) }
    }
}

const DIAL_TIMEOUT: Duration = Duration::from_secs(15);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A build that asks for thousands of hosts fills no memory.
const REMEMBERED_REFUSALS: usize = 16;

/// A running proxy; it ends, with its connections, when this is dropped.
pub struct EgressProxy {
    address: SocketAddr,
    gate: Arc<Gate>,
    _stop: DropGuard,
}

struct Gate {
    allow: AllowList,
    peers: Subnet,
    bounds: Bounds,
    bytes_left: AtomicI64,
    refused: Mutex<BTreeSet<String>>,
    stop: CancellationToken,
}

impl EgressProxy {
    /// Listens on `address` (the gateway of the build's network) for connections from `peers` (its subnet).
    pub async fn start(
        address: IpAddr,
        peers: Subnet,
        allow: AllowList,
        bounds: Bounds,
    ) -> Result<Self, EgressError> {
        let failed = |cause| EgressError::Listen { address, cause };
        let listener = TcpListener::bind((address, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let gate = Arc::new(Gate {
            allow,
            peers,
            bounds,
            bytes_left: AtomicI64::new(bounds.bytes),
            refused: Mutex::default(),
            stop: stop.clone(),
        });
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, gate.clone())));
        Ok(Self { address, gate, _stop: stop.drop_guard() })
    }

    /// For `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Hosts that were asked for and refused, for the message of a failed build.
    pub fn refused(&self) -> Vec<String> {
        self.gate.refused.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

async fn accept(listener: TcpListener, gate: Arc<Gate>) {
    let slots = Arc::new(Semaphore::new(gate.bounds.connections));
    loop {
        // Without a free slot further connections wait in the listener's backlog.
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) if gate.peers.contains(peer.ip()) => {
                let gate = gate.clone();
                tokio::spawn(gate.stop.clone().run_until_cancelled_owned(serve(stream, gate, slot)));
            }
            Ok((_, peer)) => tracing::warn!(%peer, "package proxy: a connection from another network"),
            Err(cause) => {
                tracing::warn!(%cause, "package proxy: accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, gate: Arc<Gate>, slot: OwnedSemaphorePermit) {
    // The tunnel outlives the HTTP connection and takes the slot along.
    let slot = Arc::new(slot);
    let service = service_fn(|request| {
        let (gate, slot) = (gate.clone(), slot.clone());
        async move { Ok::<_, Infallible>(answer(request, gate, slot).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 * 1024)
        // A client may close its side once it has asked.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(cause) = served.await {
        tracing::debug!(%cause, "package proxy: connection");
    }
}

async fn answer(
    request: Request<Incoming>,
    gate: Arc<Gate>,
    slot: Arc<OwnedSemaphorePermit>,
) -> Response<Full<Bytes>> {
    if request.method() != Method::CONNECT {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "Only https is let through.\n");
    }
    let upstream = match gate.dial(request.uri()).await {
        Ok(upstream) => upstream,
        Err(refusal) => return refusal,
    };
    let stop = gate.stop.clone();
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let _slot = slot;
        let tunnel = async {
            let client = TokioIo::new(upgrade::on(request).await.map_err(io::Error::other)?);
            let (from_client, to_client) = tokio::io::split(client);
            let (from_upstream, to_upstream) = upstream.into_split();
            let left = &gate.bytes_left;
            tokio::try_join!(pump(from_client, to_upstream, left), pump(from_upstream, to_client, left))
        };
        match timeout(gate.bounds.lifetime, tunnel).await {
            Ok(Err(cause)) => tracing::debug!(%cause, "package proxy: tunnel"),
            Err(_) => tracing::warn!("package proxy: a connection lived too long"),
            Ok(Ok(_)) => {}
        }
    }));
    Response::new(Full::default())
}

impl Gate {
    async fn dial(&self, uri: &http::Uri) -> Result<TcpStream, Response<Full<Bytes>>> {
        let entry = uri.authority().and_then(|authority| self.allow.find(authority)).ok_or_else(|| {
            self.refuse(uri.authority().map_or("?", |authority| authority.as_str()));
            reply(StatusCode::FORBIDDEN, "This host is not the package index.\n")
        })?;
        let unreachable = |_| reply(StatusCode::BAD_GATEWAY, "The package index does not answer.\n");
        let resolved = timeout(DIAL_TIMEOUT, tokio::net::lookup_host((entry.host.as_str(), entry.port)))
            .await
            .map_err(|_| unreachable(()))?
            .map_err(|_| unreachable(()))?;
        let admissible = entry.admissible(resolved);
        if admissible.is_empty() {
            self.refuse(&format!("{} (it resolves to a private address)", entry.host));
            return Err(reply(StatusCode::FORBIDDEN, "This host lies in a private network.\n"));
        }
        timeout(DIAL_TIMEOUT, TcpStream::connect(admissible.as_slice()))
            .await
            .map_err(|_| unreachable(()))?
            .map_err(|_| unreachable(()))
    }

    fn refuse(&self, host: &str) {
        tracing::info!(host, "package proxy: refused");
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < REMEMBERED_REFUSALS {
            refused.insert(host.chars().take(255).collect());
        }
    }
}

fn reply(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    left: &AtomicI64,
) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        let n_signed = i64::try_from(n).unwrap_or(i64::MAX);
        if left.fetch_sub(n_signed, Ordering::Relaxed) < n_signed {
            return Err(io::Error::other("the build downloaded more than it may"));
        }
        to.write_all(&buffer[..n]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands for the index: greets, then echoes.
    async fn index() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn proxy(allow: AllowList, peers: &str, bounds: Bounds) -> EgressProxy {
        EgressProxy::start("127.0.0.1".parse().unwrap(), peers.parse().unwrap(), allow, bounds).await.unwrap()
    }

    /// Sends a head and gives what comes back up to its end, with the open connection.
    async fn ask(proxy: &EgressProxy, head: &str) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        // A peer that is not answered may have hung up already.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte).await {
                Ok(1) => answer.push(byte[0]),
                _ => break,
            }
        }
        (String::from_utf8(answer).unwrap(), stream)
    }

    fn connect(target: &str) -> String {
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
    }

    #[tokio::test]
    async fn a_private_index_named_by_the_administrator_is_reached() {
        let index = index().await;
        let allow = AllowList::of_index(Some(&format!("https://{index}/simple")), &[]).unwrap();
        let proxy = proxy(allow, "127.0.0.0/8", Bounds::default()).await;
        let (answer, mut stream) = ask(&proxy, &connect(&index.to_string())).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello");
        drop(proxy);
        assert_eq!(stream.read(&mut echo).await.unwrap_or(0), 0, "tunnels end with the proxy");
    }

    #[tokio::test]
    async fn threat_06_any_other_name_is_refused_before_anything_is_dialled() {
        let proxy = proxy(AllowList::of_index(None, &[]).unwrap(), "127.0.0.0/8", Bounds::default()).await;
        for target in ["example.invalid:443", "127.0.0.1:443", "169.254.169.254:80", "pypi.org:22"] {
            let (answer, _) = ask(&proxy, &connect(target)).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{target}: {answer}");
        }
        assert_eq!(proxy.refused().len(), 4);
        let plain = "GET http://pypi.org/simple HTTP/1.1\r\nHost: pypi.org\r\n\r\n";
        assert!(ask(&proxy, plain).await.0.starts_with("HTTP/1.1 405"));
    }

    #[tokio::test]
    async fn threat_06_an_allowed_name_that_resolves_to_loopback_is_refused() {
        // As the default index would be, were its name to point here.
        let allow = AllowList::only_public("localhost", 443);
        let proxy = proxy(allow, "127.0.0.0/8", Bounds::default()).await;
        let (answer, _) = ask(&proxy, &connect("localhost:443")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert_eq!(proxy.refused(), ["localhost (it resolves to a private address)"]);
    }

    #[tokio::test]
    async fn peers_of_other_networks_get_no_answer() {
        let proxy = proxy(AllowList::of_index(None, &[]).unwrap(), "10.213.0.0/28", Bounds::default()).await;
        assert_eq!(ask(&proxy, &connect("example.invalid:443")).await.0, "");
    }

    #[tokio::test]
    async fn bytes_are_bounded() {
        let index = index().await;
        let allow = AllowList::of_index(Some(&format!("https://{index}/simple")), &[]).unwrap();
        let proxy = proxy(allow, "127.0.0.0/8", Bounds { bytes: 100_000, ..Bounds::default() }).await;
        let (_, mut stream) = ask(&proxy, &connect(&index.to_string())).await;
        let (mut from, mut to) = stream.split();
        let chunk = vec![7; 64 * 1024];
        let (sent, received) = tokio::join!(async { while to.write_all(&chunk).await.is_ok() {} }, async {
            let (mut received, mut buffer) = (0, vec![0; 64 * 1024]);
            while let Ok(n @ 1..) = from.read(&mut buffer).await {
                received += n;
            }
            received
        });
        let () = sent;
        assert!(received <= 50_000, "{received}");
    }
}
