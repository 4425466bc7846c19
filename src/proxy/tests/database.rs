//! The routes as the ops database tells them, and what holds when it does not.

use super::{PATIENCE, collect, connect, mirror, options, request, text, upstream};
use crate::{
    id::{EnvironmentId, ProjectId},
    postgres::{
        Cluster, Kind, Output, Postmaster,
        ops::{MIGRATIONS, Role, connect as pool},
        testing::TestDb,
    },
    proxy::{Limits, ProxyError, copy, run},
};
use http::Response;
use hyper::body::Bytes;
use nix::sys::signal::{Signal, kill};
use sqlx::{ConnectOptions, PgConnection, PgPool, postgres::PgConnectOptions};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// The whole role, as `ops proxy` runs it.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ProxyError>>,
}

impl Running {
    async fn start(folder: &Path, database: PgPool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut options = options(folder);
        // A poll would hide a notification that is not heard.
        options.limits = Limits { poll: Duration::from_secs(3600), ..Limits::default() };
        let served = tokio::spawn(run(listener, options, database, stop.clone()));
        Self { address, stop, served }
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.served).await.unwrap().unwrap().unwrap();
    }

    async fn get(&self, host: &str) -> Response<Bytes> {
        let mut client = connect(self.address).await;
        collect(client.send_request(request("GET", host, "/", "")).await.unwrap()).await
    }

    /// Asks until the answer is this one.
    async fn until(&self, host: &str, status: u16, content: &str) {
        let began = Instant::now();
        loop {
            let response = self.get(host).await;
            if response.status() == status && text(&response).contains(content) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{host} is not {status} {content:?}: {response:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What the worker and users do to environments, done by the superuser.
struct Environments {
    conn: PgConnection,
    project: ProjectId,
}

impl Environments {
    async fn new(superuser: &PgConnectOptions) -> Self {
        let mut conn = superuser.connect().await.unwrap();
        let project = ProjectId::new();
        sqlx::query!(
            "insert into ops.projects (id, slug, name) values ($1, 'library', 'Library')",
            project.0
        )
        .execute(&mut conn)
        .await
        .unwrap();
        Self { conn, project }
    }

    async fn build(&mut self, hostname: &str) -> EnvironmentId {
        let id = EnvironmentId::new();
        sqlx::query!(
            "insert into ops.environments (id, project_id, stage, git_ref, commit_sha, database_name, hostname)
             values ($1, $2, 'development', 'refs/heads/main', $3, $4, $5)",
            id.0,
            self.project.0,
            "a".repeat(40),
            format!("env_{}", id.0.simple()),
            hostname
        )
        .execute(&mut self.conn)
        .await
        .unwrap();
        id
    }

    async fn set(&mut self, id: EnvironmentId, state: &str, address: Option<SocketAddr>) {
        let done = sqlx::query!(
            "update ops.environments set state = $2, address = $3, port = $4 where id = $1",
            id.0,
            state,
            address.map(|address| address.ip().to_string()),
            address.map(|address| i32::from(address.port()))
        )
        .execute(&mut self.conn)
        .await
        .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }
}

#[tokio::test]
async fn an_environment_is_followed_from_its_build_to_its_end() {
    let database = TestDb::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut environments = Environments::new(&database.superuser_options()).await;
    let proxy = Running::start(folder.path(), database.worker.clone()).await;
    let (first, second) = (upstream(mirror()).await, upstream(mirror()).await);
    let host = "library-main-0a1b2c.localhost:3000";
    proxy.until(host, 404, "no environment library-main-0a1b2c").await;
    let id = environments.build("library-main-0a1b2c").await;
    proxy.until(host, 503, "is being built").await;
    for address in [first, second] {
        environments.set(id, "running", Some(address)).await;
        proxy.until(host, 200, "x-forwarded-host").await;
        environments.set(id, "stopped", None).await;
        proxy.until(host, 503, "is stopped").await;
    }
    environments.set(id, "failed", None).await;
    proxy.until(host, 503, "failed").await;
    environments.set(id, "destroying", None).await;
    proxy.until(host, 503, "was removed").await;
    environments.set(id, "destroyed", None).await;
    proxy.until(host, 404, "no environment").await;
    proxy.stop().await;
}

/// Nothing was announced to it while it was away, and the poll is an hour off.
#[tokio::test]
async fn what_changed_while_nobody_listened_is_read_when_somebody_does_again() {
    let database = TestDb::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut environments = Environments::new(&database.superuser_options()).await;
    let id = environments.build("env").await;
    let proxy = Running::start(folder.path(), pool(database.options(Role::Worker), 1)).await;
    proxy.until("env.localhost", 503, "is being built").await;
    for (state, says) in [("stopped", "is stopped"), ("failed", "failed"), ("destroying", "was removed")] {
        // One at a time, until there is one to end.
        let ended = async {
            loop {
                let ended = sqlx::query_scalar!(
                    r#"select count(pg_terminate_backend(pid)) as "count!" from pg_catalog.pg_stat_activity
                       where datname = current_database() and usename = 'ops_worker' and query ilike 'listen%'"#
                );
                match ended.fetch_one(&mut environments.conn).await.unwrap() {
                    0 => tokio::task::yield_now().await,
                    count => return count,
                }
            }
        };
        assert_eq!(timeout(PATIENCE, ended).await.unwrap(), 1, "one connection listens");
        environments.set(id, state, None).await;
        proxy.until("env.localhost", 503, says).await;
    }
    proxy.stop().await;
}

#[tokio::test]
async fn what_is_not_an_address_is_not_dialled() {
    let database = TestDb::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut environments = Environments::new(&database.superuser_options()).await;
    let (broken, sound) = (environments.build("broken").await, environments.build("sound").await);
    sqlx::query!(
        "update ops.environments set state = 'running', address = 'localhost/../x', port = 1 where id = $1",
        broken.0
    )
    .execute(&mut environments.conn)
    .await
    .unwrap();
    environments.set(sound, "running", Some(upstream(mirror()).await)).await;
    let proxy = Running::start(folder.path(), database.worker.clone()).await;
    proxy.until("sound.localhost", 200, "").await;
    proxy.until("broken.localhost", 503, "is being built").await;
    proxy.stop().await;
}

#[tokio::test]
async fn a_start_without_the_database_uses_the_copy_on_disk() {
    let database = TestDb::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut environments = Environments::new(&database.superuser_options()).await;
    let id = environments.build("env").await;
    environments.set(id, "running", Some(upstream(mirror()).await)).await;
    let nowhere = || pool(PgConnectOptions::new().socket(folder.path()).username("ops_worker"), 2);

    let proxy = Running::start(folder.path(), nowhere()).await;
    proxy.until("env.localhost", 404, "").await;
    proxy.stop().await;

    let proxy = Running::start(folder.path(), database.worker.clone()).await;
    proxy.until("env.localhost", 200, "").await;
    // Served from memory before it is on disk.
    let file = folder.path().join("proxy/routes.json");
    let written = async {
        while copy::read(&file).unwrap().is_empty() {
            tokio::task::yield_now().await
        }
    };
    timeout(PATIENCE, written).await.unwrap();
    proxy.stop().await;

    let proxy = Running::start(folder.path(), nowhere()).await;
    assert_eq!(proxy.get("env.localhost").await.status(), 200, "at once, from the copy");
    proxy.stop().await;

    std::fs::write(&file, "{ half a file").unwrap();
    let proxy = Running::start(folder.path(), nowhere()).await;
    proxy.until("env.localhost", 404, "").await;
    proxy.stop().await;
}

/// A request every 50 ms from now on; what failed, at the end.
fn traffic(address: SocketAddr) -> (watch::Sender<bool>, JoinHandle<(usize, Vec<String>)>) {
    let (stop, stopped) = watch::channel(false);
    let requests = tokio::spawn(async move {
        let (mut sent, mut failed) = (0, Vec::new());
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while !*stopped.borrow() {
            tick.tick().await;
            sent += 1;
            let mut client = connect(address).await;
            match client.send_request(request("GET", "env.localhost", "/", "")).await {
                Ok(response) if response.status() == 200 => {}
                other => failed.push(format!("{other:?}")),
            }
        }
        (sent, failed)
    });
    (stop, requests)
}

/// A control cluster that this test may kill.
struct OwnCluster {
    cluster: Cluster,
    postmaster: Postmaster,
    log: Output,
}

impl OwnCluster {
    async fn start(folder: &Path) -> Self {
        let dir = folder.join("cluster");
        // Not a throwaway one: that forgets commits when it is killed.
        let cluster = Cluster::new(Kind::Control, dir, &folder.join("secrets"), None).await.unwrap();
        let log = Output::File(folder.join("log"));
        let postmaster = cluster.start(&log).await.unwrap();
        Self { cluster, postmaster, log }
    }

    async fn kill_and_start(&mut self) {
        self.signal(Signal::SIGKILL);
        self.postmaster.ended().await.unwrap();
        assert!(self.cluster.superuser_options().connect().await.is_err());
        self.postmaster = self.cluster.start(&self.log).await.unwrap();
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.postmaster.pid() {
            kill(pid, signal).unwrap();
        }
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        // The immediate shutdown: it takes its children along.
        self.signal(Signal::SIGQUIT);
    }
}

#[tokio::test]
async fn fault_no_request_fails_while_the_database_is_killed_and_comes_back() {
    // The postgres user must be able to reach it.
    let folder = tempfile::Builder::new().permissions(world_may_enter()).tempdir().unwrap();
    let mut cluster = OwnCluster::start(folder.path()).await;
    let superuser = cluster.cluster.superuser_options();
    MIGRATIONS.run(&pool(superuser.clone(), 2)).await.unwrap();
    let mut environments = Environments::new(&superuser).await;
    let id = environments.build("env").await;
    environments.set(id, "running", Some(upstream(mirror()).await)).await;
    let proxy = Running::start(folder.path(), pool(superuser.clone(), 2)).await;
    proxy.until("env.localhost", 200, "").await;
    let (stop, requests) = traffic(proxy.address);

    for life in ["one", "two"] {
        cluster.kill_and_start().await;
        environments.conn = superuser.connect().await.unwrap();
        // It listens again: a new environment becomes known.
        let id = environments.build(life).await;
        environments.set(id, "stopped", None).await;
        proxy.until(&format!("{life}.localhost"), 503, "is stopped").await;
    }

    stop.send_replace(true);
    let (sent, failed) = requests.await.unwrap();
    assert!(sent > 5 && failed.is_empty(), "{} of {sent} failed: {:?}", failed.len(), failed.first());
    proxy.stop().await;
}

fn world_may_enter() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o711)
}

#[tokio::test]
async fn the_worker_s_role_is_enough() {
    let database = TestDb::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut environments = Environments::new(&database.superuser_options()).await;
    environments.build("env").await;
    let proxy = Running::start(folder.path(), pool(database.options(Role::Worker), 2)).await;
    proxy.until("env.localhost", 503, "is being built").await;
    proxy.stop().await;
}
