//! Other machines of the installation: how their environments are called from here, and how this machine, when it is
//! one of those, is called by the console's.

use super::{
    ProxyError, ProxyOptions,
    admission::Admission,
    exchange::Exchange,
    listener::{Connection, drain},
};
use crate::{
    config::Config,
    id::HostId,
    node::{Authority, Keys, Listener, NodeError, NodeName, Visitor, client_config, no_client_config},
};
use rustls::ClientConfig;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use tokio::{io::copy_bidirectional, net::UnixStream};
use tokio_util::sync::CancellationToken;

/// The certificate that the console's machine shows to others, read when the first of them is called: no machine joins
/// before it is made.
#[derive(Debug, Clone, Default)]
pub struct Nodes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    secrets: PathBuf,
    tls: OnceLock<ClientConfig>,
}

impl Nodes {
    pub fn of(config: &Config) -> Self {
        Self(Arc::new(Inner { secrets: config.secrets_dir(), tls: OnceLock::new() }))
    }

    /// With these keys, wherever they are from.
    pub fn with(keys: Keys) -> Result<Self, NodeError> {
        let tls = OnceLock::from(client_config(keys)?);
        Ok(Self(Arc::new(Inner { secrets: PathBuf::new(), tls })))
    }

    /// Without a certificate, other machines refuse us.
    pub fn tls(&self) -> Result<ClientConfig, NodeError> {
        if let Some(known) = self.0.tls.get() {
            return Ok(known.clone());
        }
        match Authority::own_keys(&self.0.secrets)? {
            Some(keys) => {
                let config = client_config(keys)?;
                Ok(self.0.tls.get_or_init(|| config).clone())
            }
            None => no_client_config(),
        }
    }
}

/// On a joined machine: serves what the console's machine forwards, environments and the worker's private listener,
/// until `stop`.
pub async fn serve(
    listener: Listener,
    host: HostId,
    worker: PathBuf,
    exchange: Exchange,
    stop: CancellationToken,
) -> Result<(), ProxyError> {
    let limits = exchange.options.limits.clone();
    let admission = Admission::new(&limits, exchange.options.trusted_proxies.clone());
    let exchange = Arc::new(exchange);
    let (tracker, cut) = (exchange.tunnels.tracker.clone(), CancellationToken::new());
    let (environments, private) = (NodeName::Environments(host), NodeName::Worker(host));
    let door = Door { admission, exchange, worker, stop: stop.clone(), cut: cut.clone() };
    let welcome = {
        let tracker = tracker.clone();
        move |visitor: Visitor| {
            let door = door.clone();
            let called = visitor.called.clone();
            let served = async move {
                match called {
                    called if called == environments.to_string() => door.environments(visitor).await,
                    called if called == private.to_string() => door.worker(visitor).await,
                    called => tracing::warn!(%called, "a name that is not this machine's"),
                }
            };
            // Waited for by who drains.
            tracker.track_future(served)
        }
    };
    listener.serve(stop, welcome).await;
    drain(&tracker, &limits, &cut).await;
    Ok(())
}

#[derive(Clone)]
struct Door {
    admission: Arc<Admission>,
    exchange: Arc<Exchange>,
    worker: PathBuf,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Door {
    async fn environments(&self, visitor: Visitor) {
        let Some(place) = self.admission.place().await else { return };
        let peer = visitor.address.ip();
        let Some(guard) = self.admission.admit(peer, place) else { return };
        let connection = Connection {
            exchange: self.exchange.clone(),
            peer,
            guard: Arc::new(guard),
            stop: self.stop.clone(),
            cut: self.cut.clone(),
        };
        connection.serve(visitor.stream).await;
    }

    async fn worker(&self, mut visitor: Visitor) {
        let carried = async { carry(&self.worker, &mut visitor).await };
        tokio::select! {
            ended = carried => if let Err(error) = ended {
                tracing::debug!(%error, "a call of the worker ended");
            },
            () = self.stop.cancelled() => {}
        }
    }
}

async fn carry(socket: &Path, visitor: &mut Visitor) -> std::io::Result<()> {
    let mut worker = UnixStream::connect(socket).await?;
    copy_bidirectional(&mut visitor.stream, &mut worker).await?;
    Ok(())
}

impl ProxyOptions {
    /// For a joined machine, whose only client is the console's: what that says of clients is believed.
    #[must_use]
    pub fn joined(mut self, host: HostId) -> Self {
        self.joined = Some(host);
        self.trusted_proxies =
            ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse().ok()).collect();
        self
    }
}
