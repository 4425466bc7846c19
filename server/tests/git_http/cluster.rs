//! A PostgreSQL that a test may stop: migrated, on a Unix socket, gone when the test ends. Tests that stop nothing
//! share one.

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::chown, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

const PASSWORD: &str = "of-this-test-only";

pub struct Cluster {
    folder: tempfile::TempDir,
    postmaster: Option<Child>,
}

fn programs() -> PathBuf {
    let found = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> =
        found.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").is_file()).collect();
    found.sort();
    found.pop().expect("PostgreSQL's server programs are installed")
}

/// PostgreSQL refuses to run as root.
fn unprivileged(command: &mut Command) {
    if nix::unistd::geteuid().is_root() {
        let user = nix::unistd::User::from_name("postgres").unwrap().unwrap();
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir("/");
}

impl Cluster {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if nix::unistd::geteuid().is_root() {
            let user = nix::unistd::User::from_name("postgres").unwrap().unwrap();
            chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        let mut initdb = Command::new(programs().join("initdb"));
        initdb.args(["-U", "odooops", "--auth=scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]);
        initdb.arg("--pwfile").arg(&password).arg("-D").arg(folder.path().join("data"));
        unprivileged(&mut initdb);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut cluster = Self { folder, postmaster: None };
        cluster.resume();
        let mut owner = PgConnection::connect_with(&cluster.options("odooops")).await.unwrap();
        sqlx::migrate!("../migrations").run(&mut owner).await.unwrap();
        let login = format!("alter role ops_web login password '{PASSWORD}'");
        sqlx::raw_sql(&login).execute(&mut owner).await.unwrap();
        cluster
    }

    /// Starts the postmaster and waits until it says that it is ready.
    pub fn resume(&mut self) {
        let mut postgres = Command::new(programs().join("postgres"));
        postgres.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        postgres.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=30"]);
        unprivileged(&mut postgres);
        let mut child = postgres.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("postgres ended: {seen:?}")).unwrap();
            if line.contains("ready to accept connections") {
                break;
            }
            seen.push(line);
        }
        std::thread::spawn(move || lines.for_each(drop));
        self.postmaster = Some(child);
    }

    /// Stops at once, as a crash would.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.postmaster.take() {
            let pid = nix::unistd::Pid::from_raw(child.id() as i32);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT).unwrap();
            child.wait().unwrap();
        }
    }

    pub fn options(&self, role: &str) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass().socket(self.folder.path());
        options.username(role).password(PASSWORD).database("postgres")
    }

    pub fn pool(&self, role: &str) -> PgPool {
        let options = PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(5));
        options.connect_lazy_with(self.options(role))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}
