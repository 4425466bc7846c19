//! A running cluster, as a child of this process: started, ready, stopped.

use super::{PostgresError, recovery::pid_in_file};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
    sync::mpsc::Sender,
    time::{Instant, sleep, timeout},
};

/// Crash recovery of a large cluster takes minutes; longer than this is a fault.
const READY_WITHIN: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(20);

/// Where the server's log goes.
#[derive(Debug, Clone)]
pub enum Output {
    /// Line by line to whoever supervises. A full channel holds the server's log back, never this process.
    Lines(Sender<String>),
    /// To a file, appended: for a cluster that outlives this process.
    File(PathBuf),
}

/// A started cluster. Dropping it leaves the server running; `stop` ends it.
#[derive(Debug)]
pub struct Postmaster {
    name: String,
    child: Child,
}

impl Postmaster {
    pub(super) fn spawn(name: &str, mut command: Command, output: &Output) -> Result<Self, PostgresError> {
        let log = match output {
            Output::Lines(_) => Stdio::piped(),
            Output::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                file.map_err(PostgresError::io(path))?.into()
            }
        };
        let program = command.as_std().get_program().to_owned();
        let mut child = command
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(PostgresError::io(PathBuf::from(program)))?;
        if let (Output::Lines(sender), Some(stderr)) = (output, child.stderr.take()) {
            tokio::spawn(forward_lines(stderr, sender.clone()));
        }
        Ok(Self { name: name.to_owned(), child })
    }

    /// Waits until the server takes connections, which it says in the last line of its pid file.
    pub(super) async fn ready(&mut self, data: &Path) -> Result<(), PostgresError> {
        let end = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().map_err(PostgresError::io(data))? {
                return Err(PostgresError::Ended { name: self.name.clone(), status });
            }
            if self.pid().is_some() && pid_in_file(data) == self.pid() && says_ready(data) {
                return Ok(());
            }
            if Instant::now() >= end {
                self.stop().await.map_err(PostgresError::io(data))?;
                return Err(PostgresError::NotReady {
                    name: self.name.clone(),
                    seconds: READY_WITHIN.as_secs(),
                });
            }
            sleep(POLL).await;
        }
    }

    /// None once it ended.
    pub fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
    }

    /// Waits for the end of the server, whoever causes it.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Stops the server: sessions are ended and a checkpoint written ("fast"), then with less and less patience.
    pub async fn stop(&mut self) -> io::Result<ExitStatus> {
        for (signal, patience) in [(Signal::SIGINT, 60), (Signal::SIGQUIT, 10), (Signal::SIGKILL, 10)] {
            if let Some(pid) = self.pid() {
                kill(pid, signal)?;
            }
            if let Ok(status) = timeout(Duration::from_secs(patience), self.child.wait()).await {
                return status;
            }
            tracing::warn!(cluster = self.name, %signal, "PostgreSQL did not end in time");
        }
        self.child.wait().await
    }
}

fn says_ready(data: &Path) -> bool {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    text.lines().nth(7).is_some_and(|status| status.trim() == "ready")
}

/// Longer lines come in parts: what a tenant makes the server log must not fill this process.
const LONGEST_LINE: u64 = 64 << 10;

/// What a process prints, line by line, until it ends. Lines that are not UTF-8 are shown as far as they are, and the
/// pipe is read on when nobody listens: a full one would stop the process.
pub async fn forward_lines(output: impl AsyncRead + Unpin, lines: Sender<String>) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while matches!((&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await, Ok(1..)) {
        _ = lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()).await;
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hostile_output_neither_ends_the_reading_nor_fills_memory() {
        let (lines, mut received) = tokio::sync::mpsc::channel(8);
        let mut output = b"one\n\xff\xfe\n".to_vec();
        output.extend(vec![b'x'; 100 << 10]);
        output.extend(b"\nlast");
        let reading = tokio::spawn(async move { forward_lines(output.as_slice(), lines).await });
        let mut lengths = Vec::new();
        while let Some(line) = received.recv().await {
            lengths.push(line.len());
        }
        reading.await.unwrap();
        assert_eq!(lengths, [3, 6, 64 << 10, 36 << 10, 4]);
    }
}
