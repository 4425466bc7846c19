//! `ops up` as a process: what dies comes back alone, a killed supervisor leaves nothing in the way of the next,
//! and a stop stops everything.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// An event that never comes fails the test after this.
const PATIENCE: Duration = Duration::from_secs(90);

struct Installation {
    dir: TempDir,
    listen: SocketAddr,
}

struct Up(Child);

impl Installation {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("odooops-up-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { dir, listen: free.local_addr().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn printed(&self) -> PathBuf {
        self.dir.path().join("printed")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
        command.arg("up").arg("--data-dir").arg(self.data()).args(["--listen", &self.listen.to_string()]);
        command.args(["--base-domain", &format!("localhost:{}", self.listen.port())]);
        // No Docker: what a worker does with it is none of this test's business.
        command.args(["--docker-host", "unix:///nowhere/docker.sock"]);
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Starts it and waits for the sign-in link.
    fn up(&self) -> Up {
        let output = File::create(self.printed()).unwrap();
        let mut child = self.command().stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        until("sign-in link", &self.printed(), || {
            let printed = fs::read_to_string(self.printed()).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "it ended: {printed}");
            printed.contains("/sign-in?token=").then_some(())
        });
        Up(child)
    }

    /// Runs it to its end, which must be a refusal, and returns what it said.
    fn refused(&self) -> String {
        let output = self.command().stderr(Stdio::piped()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn answer(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.listen, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let host = format!("localhost:{}", self.listen.port());
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn is_ready(&self) -> bool {
        self.answer("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Every process that has this data directory in its arguments.
    fn processes(&self) -> BTreeSet<i32> {
        let data = self.data().display().to_string();
        processes(|arguments| arguments.iter().any(|argument| argument.contains(&data)))
    }

    fn role(&self, name: &str) -> Option<Pid> {
        let data = self.data().display().to_string();
        let found = processes(|arguments| {
            arguments.get(1).is_some_and(|argument| argument == name)
                && arguments.iter().any(|argument| argument.contains(&data))
        });
        found.into_iter().next().map(Pid::from_raw)
    }

    fn postmaster(&self, cluster: &str) -> Option<Pid> {
        let text = fs::read_to_string(self.data().join(cluster).join("data/postmaster.pid")).ok()?;
        text.lines().next()?.parse().ok().map(Pid::from_raw)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        for pid in self.processes() {
            _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Up {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    fn stop(mut self) {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

fn processes(matches: impl Fn(&[String]) -> bool) -> BTreeSet<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments: Vec<_> =
            line.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        matches(&arguments)
    })
    .collect()
}

fn until<T>(what: &str, told: &Path, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "no {what}: {}", fs::read_to_string(told).unwrap_or_default());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn what_dies_comes_back_alone_and_a_stop_stops_all() {
    let installation = Installation::new();
    let printed = installation.printed();
    let up = installation.up();
    assert!(installation.is_ready());
    for (role, other) in [("serve", "proxy"), ("proxy", "serve")] {
        let (old, neighbour) = (installation.role(role).unwrap(), installation.role(other));
        kill(old, Signal::SIGKILL).unwrap();
        until(role, &printed, || installation.role(role).filter(|pid| *pid != old));
        until("readiness", &printed, || installation.is_ready().then_some(()));
        assert_eq!(installation.role(other), neighbour, "{other} was left alone when {role} died");
    }
    for cluster in ["control", "tenants"] {
        let old = installation.postmaster(cluster).unwrap();
        kill(old, Signal::SIGKILL).unwrap();
        until(cluster, &printed, || installation.postmaster(cluster).filter(|pid| *pid != old));
        until("readiness", &printed, || installation.is_ready().then_some(()));
    }
    assert!(installation.refused().contains("already runs"));
    assert!(installation.is_ready(), "the first one did not notice");
    up.stop();
    assert_eq!(installation.processes(), BTreeSet::new());
    for cluster in ["control", "tenants"] {
        assert_eq!(installation.postmaster(cluster), None, "{cluster} was shut down");
    }
}

#[test]
fn a_connection_made_while_the_proxy_is_away_is_answered() {
    let installation = Installation::new();
    let printed = installation.printed();
    let up = installation.up();
    let old = installation.role("proxy").unwrap();
    kill(old, Signal::SIGKILL).unwrap();
    until("end of the proxy", &printed, || (installation.role("proxy") != Some(old)).then_some(()));
    let answer = installation.answer("/healthz").expect("the connection waited for the next proxy");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    up.stop();
}

#[test]
fn kill_9_of_the_supervisor_or_of_everything_is_recovered_from() {
    let installation = Installation::new();
    let printed = installation.printed();
    let mut up = installation.up();
    let roles = ["serve", "proxy"].map(|role| installation.role(role).unwrap());
    kill(up.pid(), Signal::SIGKILL).unwrap();
    up.0.wait().unwrap();
    until("end of the roles", &printed, || {
        let left = installation.processes();
        (!roles.iter().any(|role| left.contains(&role.as_raw()))).then_some(())
    });
    let mut up = installation.up();
    assert!(installation.is_ready());
    for pid in installation.processes() {
        _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    up.0.wait().unwrap();
    let up = installation.up();
    assert!(installation.is_ready());
    up.stop();
    assert_eq!(installation.processes(), BTreeSet::new());
}

#[test]
fn a_taken_address_is_named_and_nothing_is_left_running() {
    let installation = Installation::new();
    let _taken = TcpListener::bind(installation.listen).unwrap();
    let told = installation.refused();
    assert!(told.contains(&installation.listen.to_string()) && told.contains("--listen"), "{told}");
    assert_eq!(installation.processes(), BTreeSet::new());
}

#[test]
fn a_foreign_database_is_refused() {
    let installation = Installation::new();
    installation.up().stop();
    fs::write(installation.data().join("installation"), "00000000-0000-7000-8000-000000000000\n").unwrap();
    assert!(installation.refused().contains("belong together"));
    assert_eq!(installation.processes(), BTreeSet::new());
}
