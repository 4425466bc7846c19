//! An `ops up` of the test's own.

use super::{disk, traffic::get};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use odooops::{
    docker::{Docker, DockerConfig, DockerError, SubnetPool},
    id::{EnvironmentId, ProjectId},
    postgres::{Cluster, Kind},
    reconcile::epoch::OnDisk,
};
use sqlx::{ConnectOptions, PgConnection};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
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

/// What an installation is started with.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The daemon's socket.
    pub docker: PathBuf,
    /// Further flags of `ops up`.
    pub flags: Vec<String>,
    /// Below which the data directory is made; one of its own where none is given.
    pub within: Option<PathBuf>,
    /// Variables of all its processes.
    pub variables: Vec<(String, String)>,
    /// The ops database's cluster where it is not the embedded one; a flag says how it is reached.
    pub control: Option<Cluster>,
    /// Folders of the data directory (`.` is itself) with a file system of their own, of so many MiB.
    pub disks: Vec<(&'static str, u64)>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            docker: "/var/run/docker.sock".into(),
            flags: Vec::new(),
            within: None,
            variables: Vec::new(),
            control: None,
            disks: Vec::new(),
        }
    }
}

pub struct Installation {
    up: Child,
    setting: Setting,
    pub address: SocketAddr,
    pub base_domain: String,
    pub data: PathBuf,
    cluster: Cluster,
    project: ProjectId,
    /// Last: it is removed after everything in it has ended.
    folder: TempDir,
}

impl Installation {
    pub async fn start() -> Self {
        Self::start_with(Setting::default()).await
    }

    pub async fn start_with(setting: Setting) -> Self {
        let within = setting.within.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::tempdir_in(within).unwrap();
        // The user that PostgreSQL runs as goes through it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let data = folder.path().join("data");
        for (name, size) in &setting.disks {
            disk::mount(&data.join(name), *size);
        }
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let base_domain = format!("localhost:{}", address.port());
        let up = start_up(&data, address, &base_domain, &setting).await;
        let cluster = match &setting.control {
            Some(cluster) => cluster.clone(),
            None => {
                Cluster::new(Kind::Control, data.join("control"), &data.join("secrets"), None).await.unwrap()
            }
        };
        let mut installation =
            Self { up, setting, address, base_domain, data, cluster, project: ProjectId::new(), folder };
        installation.add_project().await;
        installation
    }

    /// Kills `ops up` and everything under it at once: roles, clusters, sessions. What Docker runs is not under it.
    pub async fn kill_tree(&mut self) {
        let up = self.up_pid();
        // Stopped first, so that nothing is started again while the tree is read.
        kill(up, Signal::SIGSTOP).unwrap();
        let tree = descendants(up);
        for pid in tree.iter().rev().chain([&up]) {
            // A session may have ended with its cluster.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        self.up.wait().await.unwrap();
        let ended = async {
            while tree.iter().any(|pid| is_alive(*pid)) {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, ended).await.expect("the tree ends");
    }

    pub async fn start_again(&mut self) {
        self.up = start_up(&self.data, self.address, &self.base_domain, &self.setting).await;
    }

    fn up_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.up.id().unwrap()).unwrap())
    }

    pub async fn superuser(&self) -> Result<PgConnection, sqlx::Error> {
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
        self.postmaster_of("control")
    }

    pub fn postmaster_of(&self, cluster: &str) -> Option<Pid> {
        let file = fs::read_to_string(self.data.join(cluster).join("data/postmaster.pid")).ok()?;
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
        self.kill_cluster("control").await;
    }

    /// kill -9 of the postmaster alone: what it has started ends when it sees that it is gone.
    pub async fn kill_cluster(&self, cluster: &str) {
        let postmaster = self.postmaster_of(cluster).expect("the cluster runs");
        kill(postmaster, Signal::SIGKILL).unwrap();
        let ended = async {
            while is_alive(postmaster) {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, ended).await.expect("the postmaster ends");
    }

    pub async fn stop(mut self) {
        kill(self.up_pid(), Signal::SIGTERM).unwrap();
        let status = timeout(PATIENCE, self.up.wait()).await.expect("`ops up` stops").unwrap();
        assert!(status.success(), "{status}");
        assert!(self.postmaster().is_none() && self.folder.path().exists());
    }

    /// The daemon that builds go to, as this installation sees it; None while it has no id yet.
    pub async fn docker(&self) -> Option<Docker> {
        docker(&self.data, &self.setting.docker).await
    }
}

pub async fn docker(data: &Path, socket: &Path) -> Option<Docker> {
    let installation = OnDisk::read(&data.join("installation")).ok()??.installation;
    let config = DockerConfig {
        socket: socket.to_owned(),
        installation,
        mount_roots: Vec::new(),
        subnets: SubnetPool::default(),
    };
    Some(Docker::connect(config).await.expect("tests need a Docker daemon"))
}

async fn remove_all(docker: &Docker) -> Result<(), DockerError> {
    for container in docker.containers().await? {
        docker.remove_container(&container.id).await?;
    }
    for network in docker.networks().await? {
        docker.remove_network(&network.name).await?;
    }
    Ok(())
}

/// Starts `ops up` and waits until it says how to sign in.
async fn start_up(data: &Path, address: SocketAddr, base_domain: &str, setting: &Setting) -> Child {
    let mut up = Command::new(env!("CARGO_BIN_EXE_ops"))
        .args(["up", "--data-dir"])
        .arg(data)
        .args(["--listen", &address.to_string(), "--base-domain", base_domain])
        .arg(format!("--docker-host=unix://{}", setting.docker.display()))
        .args(&setting.flags)
        .envs(setting.variables.iter().cloned())
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
    up
}

/// Children before their children.
fn descendants(of: Pid) -> Vec<Pid> {
    let mut found = vec![of];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
            found.extend(children.map(Pid::from_raw));
        }
    }
    found.split_off(1)
}

/// A process that ended and was not waited for yet has ended.
fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

impl Drop for Installation {
    /// A test leaves no process, also when it failed: the supervisor takes all others along.
    fn drop(&mut self) {
        if let Some(up) = self.up.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = kill(Pid::from_raw(up), Signal::SIGTERM);
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while matches!(self.up.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        // Nor a container. On a runtime of its own: this one is ending, and cannot be waited for inside itself.
        let (data, socket) = (self.data.clone(), self.setting.docker.clone());
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async { remove_all(&docker(&data, &socket).await?).await.ok() })
        });
        let _ = removed.join();
    }
}
