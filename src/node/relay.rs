//! The ops database for machines that have no way to it but the console's: bytes, copied both ways.
//!
//! On a joined machine a Unix socket stands where the control cluster's would be, so that pools and configuration are
//! the same as on one machine. Who may log in as whom is PostgreSQL's to say: each machine has a role and a password of
//! its own.

use super::{Identity, NodeError, NodeName, Stream, tls};
use crate::{
    config::Config,
    postgres::ops::{self, Role},
};
use sqlx::postgres::PgConnectOptions;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes},
    net::{TcpStream, UnixListener, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const PATIENCE: Duration = Duration::from_secs(10);
/// Of each direction.
const BUFFER: usize = 64 << 10;

/// Where PostgreSQL listens, as seen from the console's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    Socket(PathBuf),
    Tcp(String, u16),
}

impl Database {
    pub fn of(config: &Config) -> Result<Self, NodeError> {
        Ok(Self::from(&ops::options(config, Role::Web)?))
    }

    /// Copies until one side ends.
    pub async fn serve(&self, mut guest: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        match self {
            Self::Socket(path) => {
                let mut database = timeout(PATIENCE, UnixStream::connect(path)).await.map_err(late)??;
                copy(&mut guest, &mut database).await
            }
            Self::Tcp(host, port) => {
                let dial = TcpStream::connect((host.as_str(), *port));
                let mut database = timeout(PATIENCE, dial).await.map_err(late)??;
                database.set_nodelay(true)?;
                copy(&mut guest, &mut database).await
            }
        }
    }
}

impl From<&PgConnectOptions> for Database {
    fn from(options: &PgConnectOptions) -> Self {
        match options.get_socket() {
            Some(folder) => Self::Socket(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None if options.get_host().starts_with('/') => {
                Self::Socket(Path::new(options.get_host()).join(format!(".s.PGSQL.{}", options.get_port())))
            }
            None => Self::Tcp(options.get_host().to_owned(), options.get_port()),
        }
    }
}

async fn copy(
    one: &mut (impl AsyncRead + AsyncWrite + Unpin),
    other: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    copy_bidirectional_with_sizes(one, other, BUFFER, BUFFER).await.map(drop)
}

/// On a joined machine: listens where the control cluster would, until `stop`.
pub async fn listen(config: &Config, identity: &Identity, stop: CancellationToken) -> Result<(), NodeError> {
    let tls = TlsConnector::from(Arc::new(tls::client(Identity::keys(config)?)?));
    let folder = config.control_dir().join("socket");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(NodeError::io(&folder))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(NodeError::io(&folder))?;
    let path = folder.join(".s.PGSQL.5432");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(NodeError::io(path)(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(NodeError::io(&path))?;
    tracing::info!(socket = %path.display(), control = %identity.control, "the ops database is relayed");
    let tracker = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((client, _)) => {
                let (tls, control) = (tls.clone(), identity.control.clone());
                let relayed = stop.clone().run_until_cancelled_owned(async move {
                    if let Err(cause) = carry(client, &tls, &control).await {
                        tracing::debug!(%cause, "a relayed connection ended");
                    }
                });
                tracker.spawn(relayed);
            }
            Err(error) => {
                tracing::error!(cause = %error, "no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    tracker.close();
    tracker.wait().await;
    _ = fs::remove_file(&path);
    Ok(())
}

async fn carry(mut client: UnixStream, tls: &TlsConnector, control: &str) -> io::Result<()> {
    let mut database = dial(tls, control, NodeName::Postgres).await?;
    copy(&mut client, &mut database).await
}

/// A connection to another machine, as the one of this name.
pub(super) async fn dial(tls: &TlsConnector, address: &str, name: NodeName) -> io::Result<Stream> {
    let connect = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        keep_alive(&tcp)?;
        tls.connect(name.server_name(), tcp).await
    };
    let stream = timeout(PATIENCE, connect).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(Stream::Node(Box::new(stream)))
}

/// A machine that vanished is found out within half a minute.
pub(super) fn keep_alive(tcp: &TcpStream) -> io::Result<()> {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    socket2::SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}
