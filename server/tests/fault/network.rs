//! The network between the processes and the ops database is cut for longer than a lease lasts.
//!
//! Of two hosts, one alone is cut off in `hosts.rs`, by the same relay.

use crate::{
    ground::Ground,
    others::{recovered, under_way, unharmed},
    seed::{self, Figures},
};
use odooops::{
    config::Secret,
    postgres::{Cluster, Kind, Output, bootstrap_control},
};
use rand::{Rng, rngs::StdRng};
use secrecy::ExposeSecret;
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    time::{Instant, sleep},
};

/// A lease lasts 30 seconds.
pub const CUT: Duration = Duration::from_secs(36);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Nothing comes through, and nobody says so.
    Silent,
    /// Connections end, and new ones do.
    Refused,
}

/// What flows, and how often everything that was open has been broken off.
type State = (Way, u32);

/// A way by TCP that can be cut.
pub struct Relay {
    pub address: SocketAddr,
    state: watch::Sender<State>,
}

/// Where it leads.
#[derive(Debug, Clone)]
pub enum End {
    Socket(PathBuf),
    Tcp(SocketAddr),
}

/// A cluster for the ops database, and the only way by which the platform gets there.
/// The flag names that way.
pub async fn control(scratch: &Path) -> (String, Relay, Cluster) {
    let dir = scratch.join("elsewhere");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).unwrap();
    let cluster = Cluster::new(Kind::Control, dir.join("control"), &dir.join("secrets"), None).await.unwrap();
    cluster.start(&Output::File(dir.join("log"))).await.unwrap();
    let owner = Secret::load_or_create(&dir.join("secrets/owner.password")).unwrap();
    bootstrap_control(&cluster, &owner).await.unwrap();
    let relay = Relay::to(End::Socket(cluster.socket().join(".s.PGSQL.5432"))).await;
    let (password, address) = (owner.expose_secret(), relay.address);
    let flag = format!("--database-url=postgres://odooops:{password}@{address}/ops?sslmode=disable");
    (flag, relay, cluster)
}

async fn relayed(client: TcpStream, end: End, state: watch::Receiver<State>) {
    if state.borrow().0 == Way::Refused {
        return;
    }
    let (from_client, to_client) = client.into_split();
    match end {
        End::Socket(path) => {
            let Ok(server) = UnixStream::connect(path).await else { return };
            let (from_server, to_server) = server.into_split();
            both(from_client, to_server, from_server, to_client, state).await;
        }
        End::Tcp(address) => {
            let Ok(server) = TcpStream::connect(address).await else { return };
            let (from_server, to_server) = server.into_split();
            both(from_client, to_server, from_server, to_client, state).await;
        }
    }
}

async fn both(
    from_client: impl AsyncRead + Unpin,
    to_server: impl AsyncWrite + Unpin,
    from_server: impl AsyncRead + Unpin,
    to_client: impl AsyncWrite + Unpin,
    state: watch::Receiver<State>,
) {
    tokio::select! {
        () = carry(from_client, to_server, state.clone()) => {}
        () = carry(from_server, to_client, state.clone()) => {}
        () = broken_off(state) => {}
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(1..) = read(&mut from, &mut to, &mut buffer, &mut state).await {}
}

async fn read(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    buffer: &mut [u8],
    state: &mut watch::Receiver<State>,
) -> std::io::Result<usize> {
    let length = from.read(buffer).await?;
    if state.wait_for(|(way, _)| *way == Way::Open).await.is_err() {
        return Ok(0);
    }
    to.write_all(&buffer[..length]).await?;
    Ok(length)
}

async fn broken_off(mut state: watch::Receiver<State>) {
    let (_, now) = *state.borrow();
    let _ = state.wait_for(|(_, broken)| *broken != now).await;
}

impl Relay {
    pub async fn to(end: End) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, seen) = watch::channel((Way::Open, 0));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(relayed(client, end.clone(), seen.clone()));
            }
        });
        Self { address, state }
    }

    pub fn set(&self, way: Way, break_off: bool) {
        self.state.send_modify(|(now, broken)| {
            *now = way;
            *broken += u32::from(break_off);
        });
    }
}

pub async fn all(ground: &mut Ground, relay: &Relay) {
    for seed in seed::seeds() {
        for (point, way) in [("network-silent", Way::Silent), ("network-refused", Way::Refused)] {
            if !seed::is_wanted(point) {
                continue;
            }
            let begun = Instant::now();
            let outcome = cut(ground, relay, way, &mut seed::chance(point, seed)).await;
            seed::report(point, seed, begun.elapsed(), outcome);
        }
    }
}

async fn cut(ground: &mut Ground, relay: &Relay, way: Way, chance: &mut StdRng) -> Result<Figures, String> {
    let traffic = ground.traffic().await;
    let (what, run, other) = under_way(ground, chance).await;
    relay.set(way, way == Way::Refused);
    sleep(CUT).await;
    // What was under way arrives late, or what was open is broken by now.
    let break_off: bool = way == Way::Silent && chance.random();
    relay.set(Way::Open, break_off);
    let what = format!("{what}, {way:?}{}", if break_off { ", then broken off" } else { "" });
    let figures = recovered(ground, Instant::now(), run, other, what).await?;
    unharmed(traffic).await?;
    Ok(figures)
}
