//! A role as a process: this same program with another subcommand, in a process group of its own, so that a Ctrl-C
//! in the terminal reaches only the supervisor and the order of stopping stays ours.

use super::parent::SUPERVISED;
use crate::Failure;
use command_fds::{CommandFdExt, FdMapping};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use odooops::postgres::forward_lines;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    net::TcpSocket,
    process::{Child, ChildStdin, Command},
    sync::mpsc::Sender,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const BACKLOG: u32 = 1024;
/// The first file descriptor after the standard ones, as systemd's socket activation has it.
const LISTEN_FD: i32 = 3;

pub struct Role {
    subcommand: &'static str,
    program: PathBuf,
    flags: Vec<String>,
    /// How long it may take to end when it is asked to.
    patience: Duration,
    /// Held here over restarts of the proxy: connections wait meanwhile, none is refused.
    listener: Option<OwnedFd>,
}

pub struct RunningRole {
    child: Child,
    patience: Duration,
    /// Closes with us, by which the process knows.
    _hold: Option<ChildStdin>,
}

/// The address that browsers reach, opened before anything is started that would have to be stopped again.
pub fn listen(address: SocketAddr) -> Result<OwnedFd, Failure> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    let taken = |error| {
        format!("{address} cannot be listened on: {error}. Stop what uses it, or choose another --listen.")
    };
    socket.bind(address).map_err(taken)?;
    let listener: TcpListener = socket.listen(BACKLOG).map_err(taken)?.into_std()?;
    Ok(listener.into())
}

impl Role {
    pub fn new(
        subcommand: &'static str,
        flags: Vec<String>,
        patience: Duration,
        listener: Option<OwnedFd>,
    ) -> Result<Self, Failure> {
        Ok(Self { subcommand, program: program()?, flags, patience, listener })
    }

    pub fn name(&self) -> &str {
        self.subcommand
    }

    pub fn start(&self, lines: Sender<String>) -> Result<RunningRole, Failure> {
        let mut command = Command::new(&self.program);
        command.arg(self.subcommand).args(&self.flags).env(SUPERVISED, "1").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(listener) = &self.listener {
            let mapping = FdMapping { parent_fd: listener.try_clone()?, child_fd: LISTEN_FD };
            command.fd_mappings(vec![mapping])?.env("LISTEN_FDS", "1").env_remove("LISTEN_PID");
        }
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", self.program.display()))?;
        if let Some(output) = child.stdout.take() {
            tokio::spawn(forward_lines(output, lines.clone()));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(forward_lines(output, lines));
        }
        let hold = child.stdin.take();
        Ok(RunningRole { child, patience: self.patience, _hold: hold })
    }
}

impl RunningRole {
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// SIGTERM, another one when it is to hurry, and SIGKILL when that does not help.
    pub async fn stop(&mut self, hurry: &CancellationToken) -> io::Result<ExitStatus> {
        self.ask_to_end()?;
        tokio::select! {
            ended = timeout(self.patience, self.child.wait()) => match ended {
                Ok(status) => return status,
                Err(_) => return self.kill().await,
            },
            () = hurry.cancelled() => {}
        }
        self.ask_to_end()?;
        match timeout(Duration::from_secs(30), self.child.wait()).await {
            Ok(status) => status,
            Err(_) => self.kill().await,
        }
    }

    fn ask_to_end(&self) -> io::Result<()> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        pid.map_or(Ok(()), |pid| Ok(kill(pid, Signal::SIGTERM)?))
    }

    async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.start_kill()?;
        self.child.wait().await
    }
}

/// This program. After an upgrade replaced the file, the kernel calls the old one deleted; the new one is at the
/// same path.
fn program() -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?;
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(path) => Ok(PathBuf::from(path)),
        None => Ok(path),
    }
}
