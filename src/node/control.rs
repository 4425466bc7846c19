//! What a joined machine asks of the console's.

use super::{Identity, NodeError, NodeName, relay::dial, tls};
use crate::{config::Config, id::ProjectId};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(60);

/// One request, whose answer streams.
pub async fn get(config: &Config, identity: &Identity, path: &str) -> Result<Response<Incoming>, NodeError> {
    let place = identity.control.as_str();
    let tls = TlsConnector::from(Arc::new(tls::client(Identity::keys(config)?)?));
    let stream =
        dial(&tls, place, NodeName::Control).await.map_err(|error| NodeError::unreachable(place, error))?;
    let failed = |error: hyper::Error| NodeError::unreachable(place, error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Ends with the response's body.
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, NodeName::Control.to_string())
        .body(Full::<Bytes>::default())
        .map_err(|error| NodeError::Refused(error.to_string()))?;
    let answer = timeout(PATIENCE, sender.send_request(request)).await;
    answer.map_err(|_| NodeError::unreachable(place, "no answer in time"))?.map_err(failed)
}

/// Where git finds a project's sources: it speaks TLS itself, with this machine's certificate.
#[derive(Debug, Clone)]
pub struct SourcesUrl {
    pub url: String,
    /// The name in the URL stands in no DNS: `host:port:address`, as curl takes it.
    pub resolve: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
}

pub async fn sources(
    config: &Config,
    identity: &Identity,
    project: ProjectId,
) -> Result<SourcesUrl, NodeError> {
    let place = identity.control.as_str();
    let found = tokio::net::lookup_host(place).await.map_err(|error| NodeError::unreachable(place, error))?;
    let found: Vec<SocketAddr> = found.collect();
    let port = found.first().ok_or_else(|| NodeError::unreachable(place, "it has no address"))?.port();
    let addresses = found
        .iter()
        .map(|address| match address {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        })
        .collect::<Vec<_>>()
        .join(",");
    let [certificate, key, authority] = Identity::files(config);
    let name = NodeName::Control;
    Ok(SourcesUrl {
        url: format!("https://{name}:{port}/git/{project}.git"),
        resolve: format!("{name}:{port}:{addresses}"),
        certificate,
        key,
        authority,
    })
}
