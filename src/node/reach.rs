//! How the console's machine reaches a worker's private listener: by its Unix socket where it is on the same machine,
//! by mutual TLS elsewhere.

use super::{Keys, NodeError, NodeName, query::Whereabouts, relay::dial, tls};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const PATIENCE: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 1 << 20;

/// A connection to a worker or a machine.
pub enum Stream {
    Here(UnixStream),
    Node(Box<TlsStream<TcpStream>>),
}

/// The ways to workers.
#[derive(Clone)]
pub struct Reach {
    socket: PathBuf,
    tls: Option<TlsConnector>,
}

impl Reach {
    /// `socket`: the private listener of this machine's worker. `keys`: the console's machine's own, once it has any.
    pub fn new(socket: PathBuf, keys: Option<Keys>) -> Result<Self, NodeError> {
        let tls = keys.map(tls::client).transpose()?.map(|config| TlsConnector::from(Arc::new(config)));
        Ok(Self { socket, tls })
    }

    /// To the worker there; None: on this machine.
    pub async fn connect(&self, there: Option<&Whereabouts>) -> Result<Stream, NodeError> {
        let Some(there) = there else {
            let stream = UnixStream::connect(&self.socket).await;
            let place = self.socket.display().to_string();
            return Ok(Stream::Here(stream.map_err(|error| NodeError::unreachable(place, error))?));
        };
        let none = || NodeError::unreachable(&there.address, "this machine has no certificate");
        let tls = self.tls.as_ref().ok_or_else(none)?;
        let stream = dial(tls, &there.address, NodeName::Worker(there.host)).await;
        stream.map_err(|error| NodeError::unreachable(&there.address, error))
    }

    /// One request and its answer, whose body streams.
    pub async fn send(
        &self,
        there: Option<&Whereabouts>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, NodeError> {
        let place = there.map_or_else(|| self.socket.display().to_string(), |there| there.address.clone());
        let failed = |error: hyper::Error| NodeError::unreachable(place.clone(), error);
        let stream = self.connect(there).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // Ends with the response's body.
        tokio::spawn(connection);
        let answer = timeout(PATIENCE, sender.send_request(request)).await;
        answer.map_err(|_| NodeError::unreachable(place.clone(), "no answer in time"))?.map_err(failed)
    }

    /// A connection that goes on as a websocket, over which both sides then speak as they like; or the refusal.
    pub async fn upgrade(
        &self,
        there: Option<&Whereabouts>,
        path: &str,
    ) -> Result<Result<TokioIo<Upgraded>, StatusCode>, NodeError> {
        let place = there.map_or_else(|| self.socket.display().to_string(), |there| there.address.clone());
        let failed = |error: hyper::Error| NodeError::unreachable(place.clone(), error);
        let stream = self.connect(there).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::spawn(connection.with_upgrades());
        let request = Request::get(path)
            .header(header::HOST, "worker")
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            // It proves that the other side speaks the protocol, which TLS and the file's mode have proven better.
            .header(header::SEC_WEBSOCKET_KEY, BASE64.encode(rand::random::<[u8; 16]>()))
            .body(Full::<Bytes>::default())
            .map_err(|error| NodeError::Refused(error.to_string()))?;
        let answer = timeout(PATIENCE, sender.send_request(request)).await;
        let answer = answer
            .map_err(|_| NodeError::unreachable(place.clone(), "no answer in time"))?
            .map_err(failed)?;
        match answer.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                Ok(Ok(TokioIo::new(hyper::upgrade::on(answer).await.map_err(failed)?)))
            }
            status => Ok(Err(status)),
        }
    }

    /// One small answer, as text, when it is 200.
    pub async fn ask(&self, there: Option<&Whereabouts>, path: &str) -> Result<String, NodeError> {
        let request = Request::get(path)
            .header(http::header::HOST, "worker")
            .body(Full::default())
            .map_err(|error| NodeError::Refused(error.to_string()))?;
        let response = self.send(there, request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| NodeError::Refused(error.to_string()))?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() { Ok(text) } else { Err(NodeError::Refused(format!("{status}: {text}"))) }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Here(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Node(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Here(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Node(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Here(stream) => Pin::new(stream).poll_flush(cx),
            Self::Node(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Here(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Node(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
