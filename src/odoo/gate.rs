//! Whether a server may be shown to people: `/web/health` answers without touching the database and proves nothing
//! of the registry, so the login page must answer too, under the real host name.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{net::IpAddr, time::Duration};
use tokio::time::{Instant, sleep, timeout};

#[derive(Debug, thiserror::Error)]
pub enum GateError {
    #[error("it ended while starting")]
    Ended,
    #[error("{path} did not answer with 200 within {} s (last: {last})", .after.as_secs())]
    TimedOut { path: &'static str, after: Duration, last: String },
}

/// Short: what people wait for is seconds.
const PAUSE: Duration = Duration::from_millis(100);
/// The first page builds Odoo's assets.
const ANSWER: Duration = Duration::from_secs(60);

/// Waits for health, then for the login page.
pub async fn pass_gate<F: Future<Output = bool>>(
    address: IpAddr,
    port: u16,
    host: &str,
    runs: impl Fn() -> F,
    patience: Duration,
) -> Result<(), GateError> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let deadline = Instant::now() + patience;
    for path in ["/web/health", "/web/login"] {
        loop {
            let last = match get(&client, address, port, host, path).await {
                Ok(StatusCode::OK) => break,
                Ok(status) => status.to_string(),
                Err(error) => error,
            };
            if !runs().await {
                return Err(GateError::Ended);
            }
            if Instant::now() > deadline {
                return Err(GateError::TimedOut { path, after: patience, last });
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

async fn get(
    client: &Client<HttpConnector, Empty<Bytes>>,
    address: IpAddr,
    port: u16,
    host: &str,
    path: &str,
) -> Result<StatusCode, String> {
    let request = Request::get(format!("http://{}{path}", std::net::SocketAddr::new(address, port)))
        .header(header::HOST, host)
        .header("x-forwarded-host", host)
        .header("x-forwarded-proto", "http")
        .header("x-forwarded-for", "127.0.0.1")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    match timeout(ANSWER, client.request(request)).await {
        Ok(Ok(response)) => Ok(response.status()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, http::HeaderMap, routing::get};
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    async fn serve(router: Router) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        port
    }

    async fn pass(port: u16, runs: bool) -> Result<(), GateError> {
        let patience = Duration::from_millis(300);
        pass_gate(Ipv4Addr::LOCALHOST.into(), port, "a.localhost:3000", || async move { runs }, patience)
            .await
    }

    #[tokio::test]
    async fn asks_for_the_login_page_under_the_real_name() {
        let login = get(|headers: HeaderMap| async move {
            if headers[header::HOST] == "a.localhost:3000" { StatusCode::OK } else { StatusCode::NOT_FOUND }
        });
        let port = serve(Router::new().route("/web/health", get("ok")).route("/web/login", login)).await;
        pass(port, true).await.unwrap();
    }

    #[tokio::test]
    async fn health_alone_does_not_open_it() {
        let broken = get(|| async { StatusCode::INTERNAL_SERVER_ERROR });
        let port = serve(Router::new().route("/web/health", get("ok")).route("/web/login", broken)).await;
        assert!(matches!(pass(port, true).await, Err(GateError::TimedOut { path: "/web/login", .. })));
        assert!(matches!(pass(port, false).await, Err(GateError::Ended)));
    }
}
