//! A Docker daemon of the test's own: data, socket, control groups, and a network namespace that it shares with nobody.

use crate::enclosure::control_group;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Client;
use serde_json::Value;
use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

pub struct Daemon {
    /// Its files and its socket.
    folder: PathBuf,
    /// Of its containers.
    control_group: String,
    child: Child,
}

impl Daemon {
    /// With `live_restore` containers outlive the daemon that is killed before.
    pub async fn start(scratch: &Path, live_restore: bool) -> Self {
        Self::start_in(scratch, scratch, live_restore).await
    }

    /// In a folder of its own below the test's.
    pub async fn start_in(scratch: &Path, folder: &Path, live_restore: bool) -> Self {
        let control_group = control_group(scratch);
        let child = spawn(folder, &control_group, live_restore);
        let mut daemon = Self { folder: folder.to_owned(), control_group, child };
        daemon.accepts().await;
        daemon
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Where it keeps a folder for each container.
    pub fn containers(&self) -> PathBuf {
        self.folder.join("docker/containers")
    }

    /// For second names of its files: it makes its folder a mount of its own, in which they have to be.
    pub fn outputs(&self) -> PathBuf {
        self.folder.join("docker/outputs-of-the-test")
    }

    pub fn client(&self) -> Client {
        Client::builder().unix_socket(self.socket()).build().unwrap()
    }

    async fn accepts(&mut self) {
        let client = self.client();
        let waiting = async {
            loop {
                match client.get("http://docker/_ping").send().await {
                    Ok(answer) if answer.status().is_success() => return,
                    _ => sleep(LOOK).await,
                }
                assert!(self.child.try_wait().unwrap().is_none(), "dockerd ended: {}", self.log());
            }
        };
        if timeout(PATIENCE, waiting).await.is_err() {
            panic!("dockerd does not answer: {}", self.log());
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("dockerd.log")).unwrap_or_default()
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap());
        kill(pid, Signal::SIGKILL).unwrap();
        self.child.wait().await.unwrap();
    }

    /// Starts it again; when it took connections.
    pub async fn start_again(&mut self, live_restore: bool) -> Instant {
        self.child = spawn(&self.folder, &self.control_group, live_restore);
        self.accepts().await;
        Instant::now()
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.client().get(format!("http://docker{path}")).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap_or_default());
        answer.json().await.unwrap_or(Value::Null)
    }

    /// Makes an image of a tar archive of its files.
    pub async fn import(&self, repository: &str, tag: &str, changes: &str, tar: Vec<u8>) {
        let mut url = reqwest::Url::parse("http://docker/images/create").unwrap();
        url.query_pairs_mut().extend_pairs([
            ("fromSrc", "-"),
            ("repo", repository),
            ("tag", tag),
            ("changes", changes),
        ]);
        let answer = self.client().post(url).body(tar).send().await.unwrap();
        let told = answer.text().await.unwrap();
        assert!(!told.contains("\"error\""), "{told}");
    }
}

fn spawn(folder: &Path, control_group: &str, live_restore: bool) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(folder.join("dockerd.log")).unwrap();
    let mut command = Command::new("dockerd");
    command.arg("--data-root").arg(folder.join("docker")).arg("--exec-root").arg(folder.join("docker-exec"));
    command.arg("--pidfile").arg(folder.join("docker.pid"));
    command.arg(format!("--host=unix://{}", folder.join("docker.sock").display()));
    command.args(["--bridge=none", "--log-level=warn"]);
    command.arg(format!("--cgroup-parent=/{control_group}"));
    if live_restore {
        command.arg("--live-restore");
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
    command.spawn().expect("fault tests need dockerd")
}
