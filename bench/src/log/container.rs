//! Containers that print what they are told, by the `docker` command: none of the product's code is in it.

use anyhow::{Context, Result, bail, ensure};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const IMAGE: &str = "odooops/test-busybox:1";

/// Prints a file, and is removed when it is dropped.
pub struct Printer {
    pub id: String,
}

impl Printer {
    /// `installation` is what the collector looks for among the labels; `file` may be a pipe.
    pub fn start(installation: &str, file: &Path) -> Result<Self> {
        let folder = file.parent().context("a file in a folder")?;
        let name = file.file_name().and_then(|name| name.to_str()).context("a file")?;
        let output = Command::new("docker")
            .args(["run", "--detach", "--network", "none", "--log-driver", "json-file"])
            .args(["--log-opt", "max-size=20g", "--label"])
            .arg(format!("odooops.installation={installation}"))
            .arg("--volume")
            .arg(format!("{}:/mnt", folder.display()))
            .args(["--entrypoint", "/bin/busybox", IMAGE, "cat"])
            .arg(format!("/mnt/{name}"))
            .output()
            .context("docker")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "docker run: {} (cargo xtask test --images makes {IMAGE})",
            said.trim()
        );
        Ok(Self { id: String::from_utf8(output.stdout)?.trim().to_owned() })
    }

    pub fn wait(&self) -> Result<()> {
        let status = Command::new("docker").args(["wait", &self.id]).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "docker wait");
        Ok(())
    }

    /// How long `docker logs` takes to give so many lines.
    pub fn read_by_docker(&self, lines: u64) -> Result<Duration> {
        let began = Instant::now();
        let mut command = Command::new("docker");
        // As the collector asks for them.
        let mut child = command
            .args(["logs", "--timestamps", &self.id])
            .stdout(Stdio::piped())
            .spawn()
            .context("docker logs")?;
        let output = child.stdout.take().context("its output")?;
        let mut reader = BufReader::with_capacity(1 << 20, output);
        let mut found = 0;
        loop {
            let buffer = reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            found += buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
            let length = buffer.len();
            reader.consume(length);
        }
        ensure!(child.wait()?.success() && found == lines, "docker logs gave {found} lines of {lines}");
        Ok(began.elapsed())
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        let removed = Command::new("docker").args(["rm", "--force", &self.id]).stdout(Stdio::null()).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("the container {} may be left", self.id);
        }
    }
}

/// The daemon's process: of several daemons on a machine the one that answers.
pub fn dockerd() -> Result<u32> {
    for file in ["/run/docker.pid", "/var/run/docker.pid"] {
        if let Ok(pid) = std::fs::read_to_string(file) {
            return pid.trim().parse().context(file);
        }
    }
    bail!("which process is the Docker daemon? There is no /run/docker.pid")
}
