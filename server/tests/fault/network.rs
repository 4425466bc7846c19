//! The network between the processes and the ops database is cut for longer than a lease lasts.

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
use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixStream},
    sync::watch,
    time::{Instant, sleep},
};

/// A lease lasts 30 seconds.
const CUT: Duration = Duration::from_secs(36);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing comes through, and nobody says so.
    Silent,
    /// Connections end, and new ones do.
    Refused,
}

/// What flows, and how often everything that was open has been broken off.
type State = (Way, u32);

/// A way to a cluster's socket by TCP, which can be cut.
pub struct Relay {
    url: String,
    state: watch::Sender<State>,
}

/// A cluster for the ops database, and the only way by which the platform gets there.
pub async fn control(scratch: &Path) -> (Relay, Cluster) {
    let dir = scratch.join("elsewhere");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).unwrap();
    let cluster = Cluster::new(Kind::Control, dir.join("control"), &dir.join("secrets"), None).await.unwrap();
    cluster.start(&Output::File(dir.join("log"))).await.unwrap();
    let owner = Secret::load_or_create(&dir.join("secrets/owner.password")).unwrap();
    bootstrap_control(&cluster, &owner).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (state, seen) = watch::channel((Way::Open, 0));
    let socket = cluster.socket().join(".s.PGSQL.5432");
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (socket, state) = (socket.clone(), seen.clone());
            tokio::spawn(async move {
                if state.borrow().0 == Way::Refused {
                    return;
                }
                let Ok(server) = UnixStream::connect(&socket).await else { return };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::select! {
                    () = carry(from_client, to_server, state.clone()) => {}
                    () = carry(from_server, to_client, state.clone()) => {}
                    () = broken_off(state) => {}
                }
            });
        }
    });
    let url = format!("postgres://odooops:{}@127.0.0.1:{port}/ops?sslmode=disable", owner.expose_secret());
    (Relay { url, state }, cluster)
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
    pub fn flag(&self) -> String {
        format!("--database-url={}", self.url)
    }

    fn set(&self, way: Way, break_off: bool) {
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
