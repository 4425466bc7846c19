//! The Docker daemon: whether one answers, starting one, and small questions to it.

use crate::machine::{Machine, output_of};
use crate::step::{self, Step};
use anyhow::{Context, Result, bail};
use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const LOG: &str = "/var/log/odooops-dockerd.log";

/// The server's version. A client alone proves nothing.
pub fn answers(machine: &Machine) -> Option<String> {
    let mut command = machine.command("docker");
    command.args(["version", "--format", "{{.Server.Version}}"]);
    output_of(&mut command).filter(|version| !version.is_empty())
}

pub fn image_id(machine: &Machine, tag: &str) -> Option<String> {
    let mut command = machine.command("docker");
    command.args(["image", "inspect", "--format", "{{.Id}}", tag]);
    output_of(&mut command).filter(|id| !id.is_empty())
}

pub fn image_label(machine: &Machine, tag: &str, label: &str) -> Option<String> {
    let mut command = machine.command("docker");
    command.args(["image", "inspect", "--format", "{{json .Config.Labels}}", tag]);
    let labels: serde_json::Value = serde_json::from_str(&output_of(&mut command)?).ok()?;
    labels.get(label)?.as_str().map(str::to_owned)
}

/// Starts the daemon that is installed here, unless one answers by now (a package may have started it, or only the
/// client was missing), and waits until it does.
pub fn start(machine: &Machine) -> Result<()> {
    if answers(machine).is_some() {
        return Ok(());
    }
    if Path::new("/run/systemd/system").exists() {
        let mut command = machine.as_root("systemctl")?;
        command.args(["start", "docker"]);
        Step::new(machine, "start Docker").run(command)?;
    } else {
        start_without_service_manager(machine)?;
    }
    step::own("wait for Docker", || wait(machine))
}

/// In a session of its own, so that it outlives this terminal.
fn start_without_service_manager(machine: &Machine) -> Result<()> {
    if !machine.is_root() {
        bail!(
            "no Docker daemon answers and nothing manages services here: start `dockerd` as root, then try again"
        );
    }
    mount_cgroups(machine)?;
    let log = OpenOptions::new().create(true).append(true).open(LOG).context("cannot write dockerd's log")?;
    let mut command = machine.command("setsid");
    command.args(["--fork", "dockerd"]).current_dir("/");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let status = command.status().context("cannot start dockerd")?;
    if !status.success() {
        bail!("dockerd did not start ({status}); its log is {LOG}");
    }
    Ok(())
}

fn mount_cgroups(machine: &Machine) -> Result<()> {
    let mounted = std::fs::read_dir("/sys/fs/cgroup").is_ok_and(|mut entries| entries.next().is_some());
    if mounted || machine.find("cgroupfs-mount").is_none() {
        return Ok(());
    }
    Step::new(machine, "mount control groups").run(machine.command("cgroupfs-mount")).map(drop)
}

fn wait(machine: &Machine) -> Result<()> {
    let started = Instant::now();
    while answers(machine).is_none() {
        if started.elapsed() > Duration::from_secs(60) {
            bail!(
                "Docker was started but does not answer; see {LOG} (or `journalctl -u docker`). \
                 A user who is not root must be in the group `docker`"
            );
        }
        pause(Duration::from_millis(200));
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing announces that dockerd answers, and no async worker waits here"
)]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
