//! The installation that is measured: one that runs already, or one that is started for the measurement and
//! removed after it.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use odooops::reconcile::epoch::OnDisk;
use serde_json::Value;
use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The first start makes two clusters, the demo project and template databases.
const START: Duration = Duration::from_secs(600);

/// How every benchmark is told what to measure.
#[derive(Debug, Args)]
pub struct Target {
    /// The program `ops`, of a release build.
    #[arg(long, env = "OPS_BIN", default_value = "ops")]
    pub ops: PathBuf,
    /// The data directory of an installation that runs. Without it, one is started and removed again.
    #[arg(long, requires = "address")]
    pub data_dir: Option<PathBuf>,
    /// The address that the running installation listens on, such as 127.0.0.1:3000.
    #[arg(long, requires = "data_dir")]
    pub address: Option<SocketAddr>,
    /// Its base domain.
    #[arg(long, default_value = "localhost:3000")]
    pub base_domain: String,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

pub struct Installation {
    ops: PathBuf,
    pub data_dir: PathBuf,
    pub address: SocketAddr,
    pub base_domain: String,
    /// Its supervisor.
    pub supervisor: u32,
    own: Option<Own>,
}

struct Own {
    up: Child,
    folder: TempDir,
}

impl Installation {
    pub async fn open(target: &Target) -> Result<Self> {
        match (&target.data_dir, target.address) {
            (Some(data_dir), Some(address)) => {
                let data_dir = data_dir.canonicalize().context("the data directory")?;
                Ok(Self {
                    ops: target.ops.clone(),
                    supervisor: holder_of(&data_dir.join("up.lock"))?,
                    data_dir,
                    address,
                    base_domain: target.base_domain.clone(),
                    own: None,
                })
            }
            _ => Self::start(&target.ops).await,
        }
    }

    async fn start(ops: &Path) -> Result<Self> {
        let folder = scratch()?;
        let data_dir = folder.path().join("data");
        let address = free_address()?;
        let base_domain = format!("localhost:{}", address.port());
        let log = File::create(folder.path().join("log"))?;
        let up = Command::new(ops)
            .args(["up", "--data-dir"])
            .arg(&data_dir)
            .args(["--listen", &address.to_string(), "--base-domain", &base_domain])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", ops.display()))?;
        let (supervisor, ops) = (up.id(), ops.to_owned());
        let own = Some(Own { up, folder });
        let mut started = Self { ops, data_dir, address, base_domain, supervisor, own };
        started.wait_until_ready().await?;
        Ok(started)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        let Some(own) = &mut self.own else { return Ok(()) };
        let log = own.folder.path().join("log");
        loop {
            // The last thing that it says.
            let said = fs::read_to_string(&log)?;
            if said.contains("Sign in once with") {
                return Ok(());
            }
            let ended = own.up.try_wait()?;
            if ended.is_some() || began.elapsed() > START {
                let lines: Vec<&str> = said.lines().collect();
                let tail = lines.iter().rev().take(20).rev().copied().collect::<Vec<_>>().join("\n");
                bail!("`ops up` does not come up ({ended:?}):\n{tail}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Runs a command of `ops` and reads what it prints.
    pub fn ops(&self, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(&self.ops)
            .args(arguments)
            .arg("--json")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .output()
            .with_context(|| format!("{} does not run", self.ops.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ops {}: {}", arguments.join(" "), said.trim());
        serde_json::from_slice(&output.stdout).with_context(|| format!("ops {}", arguments.join(" ")))
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let Some(own) = &mut self.own else { return };
        // SIGTERM, so that it ends its roles and clusters in order.
        let _ = Command::new("kill").arg(own.up.id().to_string()).status();
        let ended = own.up.wait().context("`ops up` does not end");
        // Environments run on without it, as they should when one means to start it again.
        if let Err(error) = ended.and_then(|_| remove_from_docker(&self.data_dir)) {
            eprintln!("something of the installation in {} may be left: {error:#}", self.data_dir.display());
        }
    }
}

/// Whatever carries the installation's id.
fn remove_from_docker(data_dir: &Path) -> Result<()> {
    let known = OnDisk::read(&data_dir.join("installation"))?.context("the installation's id")?;
    let filter = format!("label=odooops.installation={}", known.installation);
    let ours = |list: &[&str]| docker(list, &["--quiet", "--filter", &filter]);
    let remove = |command: &[&str], list: String| {
        let ids: Vec<&str> = list.split_whitespace().collect();
        if ids.is_empty() { Ok(()) } else { docker(command, &ids).map(drop) }
    };
    remove(&["container", "rm", "--force"], ours(&["container", "ls", "--all"])?)?;
    remove(&["network", "rm"], ours(&["network", "ls"])?)
}

fn docker(command: &[&str], arguments: &[&str]) -> Result<String> {
    let output = Command::new("docker").args(command).args(arguments).output().context("docker")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "docker {}: {}", command.join(" "), said.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// A folder below which the unprivileged user of PostgreSQL can reach its own.
pub fn scratch() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("odooops-bench-").tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
    Ok(folder)
}

/// A loopback address that nobody listens on, as far as one can know.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The process that has this file open.
fn holder_of(file: &Path) -> Result<u32> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Other users' processes cannot be looked at.
        let Ok(open) = fs::read_dir(entry.path().join("fd")) else { continue };
        if open.flatten().any(|it| fs::read_link(it.path()).is_ok_and(|path| path == file)) {
            return Ok(pid);
        }
    }
    bail!("no `ops up` runs for {}", file.parent().unwrap_or(file).display())
}
