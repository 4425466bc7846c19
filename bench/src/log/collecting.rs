//! The product's collector in a process of its own, which is this program once more: it can be killed, and its memory
//! and processor time are its own.

use anyhow::{Context, Result, bail};
use odooops::{
    config::{Config, Flags},
    docker::{Docker, DockerConfig, SubnetPool},
    id::{InstallationId, RunId},
    log::collector::{CollectEnd, Collector},
    odoo::level_of,
    postgres::ops::{Role, pool},
    run::LogLevel,
};
use sqlx::PgPool;
use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

#[derive(Debug, clap::Args)]
pub struct Collect {
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long)]
    installation: InstallationId,
    #[arg(long)]
    run: RunId,
    #[arg(long)]
    container: String,
    /// A container's output is collected once for each stream's name.
    #[arg(long)]
    stream: String,
}

pub fn connect(data_dir: &Path, role: Role) -> Result<PgPool> {
    let keys = BTreeMap::from([("data_dir", data_dir.display().to_string())]);
    let config = Config::load(&Flags { file: None, keys }, |_| None)?;
    Ok(pool(&config, role, 4)?)
}

impl Collect {
    /// As `ops work` does it.
    pub async fn run(self) -> Result<()> {
        let docker = Docker::connect(DockerConfig {
            socket: PathBuf::from("/var/run/docker.sock"),
            installation: self.installation,
            mount_roots: Vec::new(),
            subnets: SubnetPool::default(),
        })
        .await?;
        let collector = Collector::new(connect(&self.data_dir, Role::Worker)?, docker, "bench");
        let last = SendCell(Cell::new(LogLevel::Info));
        let level = move |line: &str| last.judge(line);
        match collector.follow(self.run, &self.container, &self.stream, level, |_| ()).await? {
            CollectEnd::Finished => {}
            end => bail!("the collector ended with {end:?}"),
        }
        let usage = Usage::of(std::process::id())?;
        println!("{} {}", usage.peak_kb, usage.cpu.as_millis());
        Ok(())
    }
}

/// The level of the record before, for lines that continue one.
struct SendCell(Cell<LogLevel>);

impl SendCell {
    fn judge(&self, line: &str) -> LogLevel {
        if let Some(level) = level_of(line) {
            self.0.set(level);
        }
        self.0.get()
    }
}

/// A process that collects.
pub struct Process(Child);

impl Process {
    pub fn start(
        data_dir: &Path,
        installation: InstallationId,
        run: RunId,
        container: &str,
        stream: &str,
    ) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .arg("collect")
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--installation", &installation.to_string(), "--run", &run.to_string()])
            .args(["--container", container, "--stream", stream])
            .stdout(Stdio::piped())
            .spawn()
            .context("the collecting process")?;
        Ok(Self(child))
    }

    /// SIGKILL; tells what it had used.
    pub fn kill(mut self) -> Result<Usage> {
        let usage = Usage::of(self.0.id())?;
        self.0.kill()?;
        self.0.wait()?;
        Ok(usage)
    }

    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// Waits for the end of the container's output.
    pub fn wait(self) -> Result<Usage> {
        let output = self.0.wait_with_output()?;
        anyhow::ensure!(output.status.success(), "the collecting process ended with {}", output.status);
        let said = String::from_utf8(output.stdout)?;
        let (peak, cpu) = said.trim().split_once(' ').context("what the process used")?;
        Ok(Usage { peak_kb: peak.parse()?, cpu: Duration::from_millis(cpu.parse()?) })
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Resident memory at its highest.
    pub peak_kb: u64,
    pub cpu: Duration,
}

impl Usage {
    pub fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        let peak_kb = peak.trim().trim_end_matches(" kB").parse()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit_once(") ").context("a process")?.1.split(' ').collect();
        // User and system time, in hundredths of a second on every Linux.
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Self { peak_kb, cpu: Duration::from_millis(ticks * 10) })
    }
}
