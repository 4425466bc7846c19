//! The door for other machines, on the console's machine and on joined ones: TLS first, then who it is, then what they
//! called.

use super::{
    Fingerprint, Keys, NodeError, NodeName,
    places::Places,
    query::{self, Host},
    relay::keep_alive,
    tls,
};
use rustls::pki_types::CertificateDer;
use sqlx::PgPool;
use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections of machines that showed their certificate, at a time.
const CONNECTIONS: usize = 2048;
/// Connections that have not said who they are. They never take places of those above.
const ARRIVING: usize = 512;
/// Connections without a certificate.
const STRANGERS: usize = 64;

/// Who has connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guest {
    /// Without a certificate: may ask to join, and nothing else.
    Stranger,
    /// A machine that joined and is not revoked.
    Host(Host),
    /// The console's machine.
    Control,
}

/// A connection that was let in.
pub struct Visitor {
    pub guest: Guest,
    pub address: SocketAddr,
    /// The name that they called, in small letters.
    pub called: String,
    pub stream: TlsStream<TcpStream>,
    /// Set when the guest is not welcome any more: the connection ends.
    pub cut: CancellationToken,
}

/// Whom it lets in.
#[derive(Clone)]
enum Rule {
    /// On the console's machine: strangers, and hosts that the database knows.
    Hosts { database: PgPool, open: Open },
    /// On a joined machine: the console's machine only.
    Control,
}

pub struct Listener {
    tcp: TcpListener,
    tls: TlsAcceptor,
    rule: Rule,
    doors: Doors,
}

/// Who holds which places.
#[derive(Clone)]
struct Doors {
    arriving: Places,
    strangers: Places,
    known: Arc<Semaphore>,
}

impl Listener {
    /// For the console's machine.
    pub fn of_control(tcp: TcpListener, keys: Keys, database: PgPool) -> Result<Self, NodeError> {
        let rule = Rule::Hosts { database, open: Open::default() };
        Ok(Self::new(tcp, TlsAcceptor::from(tls::server(keys, true)?), rule))
    }

    /// For a joined machine.
    pub fn of_host(tcp: TcpListener, keys: Keys) -> Result<Self, NodeError> {
        Ok(Self::new(tcp, TlsAcceptor::from(tls::server(keys, false)?), Rule::Control))
    }

    fn new(tcp: TcpListener, tls: TlsAcceptor, rule: Rule) -> Self {
        let doors = Doors {
            arriving: Places::new(ARRIVING),
            strangers: Places::new(STRANGERS),
            known: Arc::new(Semaphore::new(CONNECTIONS)),
        };
        Self { tcp, tls, rule, doors }
    }

    #[cfg(test)]
    pub(super) fn with_places(mut self, arriving: usize, strangers: usize) -> Self {
        self.doors.arriving = Places::new(arriving);
        self.doors.strangers = Places::new(strangers);
        self
    }

    /// Connections that are open, to be judged again when a host changes.
    pub fn open(&self) -> Option<Open> {
        match &self.rule {
            Rule::Hosts { open, .. } => Some(open.clone()),
            Rule::Control => None,
        }
    }

    /// Takes connections until `stop`; each is let in or refused, and served, in a task of its own.
    pub async fn serve<F: Future<Output = ()> + Send + 'static>(
        self,
        stop: CancellationToken,
        welcome: impl Fn(Visitor) -> F + Clone + Send + Sync + 'static,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (tcp, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::error!(cause = %error, "no connection could be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Taken here, so that no more tasks wait than there are places.
            let place = self.doors.arriving.take();
            let (tls, rule, doors, welcome) =
                (self.tls.clone(), self.rule.clone(), self.doors.clone(), welcome.clone());
            tokio::spawn(async move {
                let stream = match place.hold(timeout(HANDSHAKE, shake_hands(tls, tcp))).await {
                    Some(Ok(Ok(stream))) => stream,
                    Some(Ok(Err(error))) => {
                        return tracing::warn!(peer = %address, %error, "a machine was not let in");
                    }
                    Some(Err(_)) => return tracing::debug!(peer = %address, "no handshake in time"),
                    None => return tracing::debug!(peer = %address, "others arrived meanwhile"),
                };
                doors.let_in(stream, &rule, address, welcome).await;
            });
        }
    }
}

impl Doors {
    async fn let_in<F: Future<Output = ()> + Send + 'static>(
        self,
        stream: TlsStream<TcpStream>,
        rule: &Rule,
        address: SocketAddr,
        welcome: impl Fn(Visitor) -> F,
    ) {
        let visitor = match timeout(HANDSHAKE, judge(stream, rule, address)).await {
            Ok(Ok(visitor)) => visitor,
            Ok(Err(error)) => return tracing::warn!(peer = %address, %error, "a machine was not let in"),
            Err(_) => return tracing::warn!(peer = %address, "the ops database does not say who this is"),
        };
        if visitor.guest == Guest::Stranger {
            if self.strangers.take().hold(welcome(visitor)).await.is_none() {
                tracing::debug!(peer = %address, "other strangers came meanwhile");
            }
            return;
        }
        match self.known.try_acquire_owned() {
            Ok(_place) => {
                let cut = visitor.cut.clone();
                cut.run_until_cancelled(welcome(visitor)).await;
            }
            Err(_) => tracing::error!(peer = %address, "too many connections of machines"),
        }
    }
}

async fn shake_hands(tls: TlsAcceptor, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    keep_alive(&tcp)?;
    tls.accept(tcp).await
}

async fn judge(stream: TlsStream<TcpStream>, rule: &Rule, address: SocketAddr) -> io::Result<Visitor> {
    let session = stream.get_ref().1;
    let called = session.server_name().unwrap_or_default().to_ascii_lowercase();
    let certificate = session.peer_certificates().and_then(|it| it.first()).map(|it| it.clone().into_owned());
    let (guest, cut) = rule.judge(certificate.as_ref()).await?;
    Ok(Visitor { guest, address, called, stream, cut })
}

impl Rule {
    async fn judge(
        &self,
        certificate: Option<&CertificateDer<'_>>,
    ) -> io::Result<(Guest, CancellationToken)> {
        let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned()));
        match (self, certificate) {
            (Self::Hosts { .. }, None) => Ok((Guest::Stranger, CancellationToken::new())),
            (Self::Hosts { database, open }, Some(certificate)) => {
                let key = Fingerprint::of_peer(certificate).map_err(io::Error::other)?;
                // First among the open ones, then judged: one that is revoked in between is judged again.
                let cut = open.add(key);
                match look(database, key).await {
                    Ok(Some(host)) => Ok((Guest::Host(host), cut)),
                    Ok(None) => refuse("its host was revoked, or joined again with other keys"),
                    Err(error) => Err(io::Error::other(error)),
                }
            }
            (Self::Control, Some(certificate)) if tls::is_of(certificate, NodeName::Control) => {
                Ok((Guest::Control, CancellationToken::new()))
            }
            (Self::Control, _) => refuse("only the console's machine may call here"),
        }
    }
}

async fn look(database: &PgPool, key: Fingerprint) -> crate::Result<Option<Host>> {
    query::host_of_key(&mut *database.acquire().await?, key).await
}

/// Connections of hosts, by their keys.
#[derive(Clone, Default)]
pub struct Open(Arc<Mutex<HashMap<String, CancellationToken>>>);

impl Open {
    fn add(&self, key: Fingerprint) -> CancellationToken {
        self.lock().entry(key.to_string()).or_default().clone()
    }

    /// Ends the connections of every host that is not welcome any more.
    pub async fn judge_again(&self, database: &PgPool) {
        let keys: Vec<String> = self.lock().keys().cloned().collect();
        for text in keys {
            let Ok(key) = text.parse::<Fingerprint>() else { continue };
            match look(database, key).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    if let Some(cut) = self.lock().remove(&text) {
                        cut.cancel();
                    }
                }
                Err(error) => tracing::warn!(%error, "hosts cannot be judged just now"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
