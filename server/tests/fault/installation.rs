//! An `ops up` of the test's own.

use super::traffic::get;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use odooops::{
    id::{EnvironmentId, ProjectId},
    postgres::{Cluster, Kind},
};
use sqlx::{ConnectOptions, PgConnection};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

pub struct Installation {
    up: Child,
    pub address: SocketAddr,
    pub base_domain: String,
    data: PathBuf,
    cluster: Cluster,
    project: ProjectId,
    /// Last: it is removed after everything in it has ended.
    folder: TempDir,
}

impl Installation {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The user that PostgreSQL runs as goes through it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let data = folder.path().join("data");
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let base_domain = format!("localhost:{}", address.port());
        let mut up = Command::new(env!("CARGO_BIN_EXE_ops"))
            .args(["up", "--data-dir"])
            .arg(&data)
            .args(["--listen", &address.to_string(), "--base-domain", &base_domain])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("Sign in once") {
                    return true;
                }
            }
            false
        };
        assert!(timeout(PATIENCE, ready).await.unwrap(), "`ops up` ended before it was ready");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let cluster =
            Cluster::new(Kind::Control, data.join("control"), &data.join("secrets"), None).await.unwrap();
        let mut installation =
            Self { up, address, base_domain, data, cluster, project: ProjectId::new(), folder };
        installation.add_project().await;
        installation
    }

    async fn superuser(&self) -> Result<PgConnection, sqlx::Error> {
        self.cluster.superuser_options().database("ops").connect().await
    }

    async fn add_project(&mut self) {
        let mut conn = self.superuser().await.unwrap();
        sqlx::query!(
            "insert into ops.projects (id, slug, name) values ($1, 'fault-library', 'Library')",
            self.project.0
        )
        .execute(&mut conn)
        .await
        .unwrap();
    }

    /// An environment as a finished build leaves it, at an address that this test serves.
    pub async fn add_environment(&self, hostname: &str, address: SocketAddr) {
        self.try_add_environment(hostname, address).await.unwrap();
    }

    async fn try_add_environment(&self, hostname: &str, address: SocketAddr) -> Result<(), sqlx::Error> {
        let id = EnvironmentId::new();
        sqlx::query!(
            "insert into ops.environments
                 (id, project_id, stage, state, git_ref, commit_sha, database_name, hostname, address, port)
             values ($1, $2, 'development', 'running', 'refs/heads/main', $3, $4, $5, $6, $7)",
            id.0,
            self.project.0,
            "a".repeat(40),
            format!("env_{}", id.0.simple()),
            hostname,
            address.ip().to_string(),
            i32::from(address.port())
        )
        .execute(&mut self.superuser().await?)
        .await
        .map(drop)
    }

    pub async fn add_environment_when_back(&self, hostname: &str, address: SocketAddr) {
        let adding = async {
            while self.try_add_environment(hostname, address).await.is_err() {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, adding).await.expect("the control cluster comes back");
    }

    /// Asks until this is the answer.
    pub async fn until(&self, host: &str, path: &str, status: u16) {
        let began = Instant::now();
        loop {
            let answer = get(self.address, host, path).await;
            if answer == Ok(status) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{host}{path} is {answer:?}, not {status}");
            sleep(LOOK).await;
        }
    }

    /// The process of a role that `ops up` keeps.
    fn process(&self, role: &str) -> Option<Pid> {
        let up = self.up.id()?;
        fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
            let arguments = fs::read(entry.path().join("cmdline")).ok()?;
            let is_role = arguments.split(|byte| *byte == 0).nth(1) == Some(role.as_bytes());
            (parent.trim() == up.to_string() && is_role).then(|| Pid::from_raw(pid))
        })
    }

    /// Waits until it runs, ends it, and waits until it has ended.
    pub async fn kill(&self, role: &str, signal: Signal) {
        let ending = async {
            let pid = self.is_back(role).await;
            kill(pid, signal).unwrap();
            while self.process(role) == Some(pid) {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, ending).await.unwrap_or_else(|_| panic!("{role} does not end"));
    }

    pub async fn is_back(&self, role: &str) -> Pid {
        let starting = async {
            loop {
                match self.process(role) {
                    Some(pid) => return pid,
                    None => sleep(LOOK).await,
                }
            }
        };
        timeout(PATIENCE, starting).await.unwrap_or_else(|_| panic!("{role} does not come back"))
    }

    fn postmaster(&self) -> Option<Pid> {
        let file = fs::read_to_string(self.data.join("control/data/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok().map(Pid::from_raw)
    }

    /// Every process of the cluster gets it.
    pub fn signal_control_cluster(&self, signal: Signal) {
        let postmaster = self.postmaster().expect("the cluster runs");
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw);
        for pid in std::iter::once(postmaster).chain(children) {
            // A backend may have ended meanwhile.
            let _ = kill(pid, signal);
        }
    }

    pub async fn kill_control_cluster(&self) {
        let postmaster = self.postmaster().expect("the cluster runs");
        kill(postmaster, Signal::SIGKILL).unwrap();
        let ended = async {
            while fs::exists(format!("/proc/{postmaster}")).unwrap() {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, ended).await.expect("the postmaster ends");
    }

    pub async fn stop(mut self) {
        let up = Pid::from_raw(i32::try_from(self.up.id().unwrap()).unwrap());
        kill(up, Signal::SIGTERM).unwrap();
        let status = timeout(PATIENCE, self.up.wait()).await.expect("`ops up` stops").unwrap();
        assert!(status.success(), "{status}");
        assert!(self.postmaster().is_none() && self.folder.path().exists());
    }
}

impl Drop for Installation {
    /// A test that failed leaves no process: the supervisor takes all others along.
    fn drop(&mut self) {
        let Some(up) = self.up.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else { return };
        let _ = kill(up, Signal::SIGTERM);
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while matches!(self.up.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
}
