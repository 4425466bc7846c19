//! A server where an Odoo would be, and browsers that ask it without pause.

use axum::{Router, body::Body, routing::any};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{interval, sleep, timeout},
};

/// 20 requests a second.
const PACE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on loopback, which the proxy dials like a container.
pub async fn pretend_odoo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(any(|| async { "Odoo" }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Asks over a connection of its own; the status when there was a whole answer.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Result<u16, String> {
    let ask = async {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let driving = tokio::spawn(connection);
        let request = Request::get(path).header("host", host).body(Body::empty()).unwrap();
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await;
        driving.abort();
        body.map(|_| status).map_err(|error| error.to_string())
    };
    timeout(PATIENCE, ask).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

pub struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    failures: JoinHandle<Vec<String>>,
}

impl Traffic {
    pub fn start(address: SocketAddr, host: &str) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count, host) = (stop.clone(), sent.clone(), host.to_owned());
        let failures = tokio::spawn(async move {
            let mut asked = Vec::new();
            let mut pace = interval(PACE);
            while !stopped.load(Ordering::SeqCst) {
                pace.tick().await;
                let host = host.clone();
                count.fetch_add(1, Ordering::SeqCst);
                // A slow answer does not slow the next question.
                asked.push(tokio::spawn(async move { get(address, &host, "/").await }));
            }
            let mut failures = Vec::new();
            for answer in asked {
                match answer.await.unwrap() {
                    Ok(200) => {}
                    other => failures.push(format!("{other:?}")),
                }
            }
            failures
        });
        Self { stop, sent, failures }
    }

    /// Waits until so many more were sent.
    pub async fn until_more(&self, count: usize) {
        let enough = self.sent.load(Ordering::SeqCst) + count;
        while self.sent.load(Ordering::SeqCst) < enough {
            sleep(PACE).await;
        }
    }

    /// How many were sent, and how those ended that failed.
    pub async fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let failures = self.failures.await.unwrap();
        (self.sent.load(Ordering::SeqCst), failures)
    }
}
