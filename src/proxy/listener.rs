//! Connections: accepted within bounds, given up when they stall, drained at the end.

use super::{
    Limits,
    admission::{Admission, Guard},
    exchange::Exchange,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use std::{convert::Infallible, io, net::IpAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Also what is read ahead of a slow reader per connection.
const BUFFER: usize = 128 * 1024;

pub async fn serve(listener: TcpListener, exchange: Exchange, stop: CancellationToken) -> io::Result<()> {
    let limits = exchange.options.limits.clone();
    let admission = Admission::new(&limits, exchange.options.trusted_proxies.clone());
    let exchange = Arc::new(exchange);
    let tracker = exchange.tunnels.tracker.clone();
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &admission) => accepted,
            () = stop.cancelled() => break,
        };
        let Some((stream, peer, guard)) = accepted else { continue };
        let connection = Connection {
            exchange: exchange.clone(),
            peer,
            guard: Arc::new(guard),
            stop: stop.clone(),
            cut: cut.clone(),
        };
        if let Err(error) = set_options(&stream) {
            tracing::debug!(%error, "the client left at once");
            continue;
        }
        tracker.spawn(connection.serve(stream));
    }
    // From now on the port is free for the next proxy.
    drop(listener);
    drain(&tracker, &limits, &cut).await;
    Ok(())
}

/// Waits for requests under way, as long as they may take.
pub async fn drain(tracker: &TaskTracker, limits: &Limits, cut: &CancellationToken) {
    tracker.close();
    if tokio::time::timeout(limits.drain, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "requests still under way are cut off");
        cut.cancel();
        tracker.wait().await;
    }
}

/// The next connection that is let in; None when there was one that is not, or none.
async fn accept(listener: &TcpListener, admission: &Arc<Admission>) -> Option<(TcpStream, IpAddr, Guard)> {
    // While there is no place, connections wait in the kernel's queue.
    let place = admission.place().await?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let guard = admission.admit(peer.ip(), place);
            if guard.is_none() {
                tracing::debug!(%peer, "the client has too many connections");
            }
            Some((stream, peer.ip(), guard?))
        }
        // The client's own doing.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) =>
        {
            None
        }
        // No file descriptor, no memory: it passes when others end.
        Err(error) => {
            tracing::error!(cause = %error, "no connection could be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

pub struct Connection {
    pub exchange: Arc<Exchange>,
    pub peer: IpAddr,
    pub guard: Arc<Guard>,
    pub stop: CancellationToken,
    pub cut: CancellationToken,
}

impl Connection {
    pub async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
        let limits = &self.exchange.options.limits;
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(limits.write_timeout));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.header_bytes)
            .max_headers(limits.header_count)
            .max_buf_size(BUFFER.max(limits.header_bytes));
        let service = service_fn(|request| {
            let (exchange, guard, peer) = (self.exchange.clone(), self.guard.clone(), self.peer);
            async move { Ok::<_, Infallible>(exchange.handle(peer, guard, request).await) }
        });
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stop.cancelled() => {
                // Ends idle connections at once and the others after their response.
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.cut.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "a connection ended");
        }
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A client that vanished under a quiet websocket is found out.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
