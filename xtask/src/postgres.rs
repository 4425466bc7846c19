//! A PostgreSQL cluster for the time of a command: tests and the description of queries need a database with the
//! migrations applied, and must not touch one that somebody uses.

use crate::machine::{Machine, user_id};
use crate::step;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PARENT: &str = "/var/tmp";
const PREFIX: &str = "odooops-xtask-";
const OWNER: &str = "odooops";
const DATABASE: &str = "odooops";
const OLDEST: u32 = 15;

/// The directory of the newest server programs that are new enough.
pub fn programs() -> Option<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let versions = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions.filter(|version| *version >= OLDEST).max()?;
    let directory = PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"));
    directory.join("initdb").exists().then_some(directory)
}

pub struct Cluster<'a> {
    machine: &'a Machine,
    programs: PathBuf,
    directory: PathBuf,
    password: String,
    port: u16,
}

impl<'a> Cluster<'a> {
    /// Made, started, with an empty database and its owner, who is no superuser.
    pub fn start(machine: &'a Machine) -> Result<Self> {
        sweep(machine);
        let programs = programs().context("PostgreSQL's server programs are missing")?;
        let directory = PathBuf::from(format!("{PARENT}/{PREFIX}{}", std::process::id()));
        std::fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let cluster = Self { machine, programs, directory, password: random_password()?, port: free_port()? };
        step::own("PostgreSQL for this run", || cluster.create())?;
        Ok(cluster)
    }

    /// For programs; the address is loopback, the password new with every run.
    pub fn url(&self) -> String {
        format!("postgres://{OWNER}:{}@127.0.0.1:{}/{DATABASE}", self.password, self.port)
    }

    /// For tests, which make databases and roles of their own, each by the project's own code.
    pub fn superuser_url(&self) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    /// Every file of migrations/, in the order of their names, each in one transaction.
    pub fn migrate(&self) -> Result<()> {
        step::own("migrations", || {
            let directory = self.machine.root.join("migrations");
            let entries = std::fs::read_dir(&directory).context("there is no migrations directory")?;
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.retain(|file| file.extension().is_some_and(|e| e == "sql"));
            files.sort();
            for file in files {
                let mut command = self.psql(OWNER, DATABASE);
                command.arg("--single-transaction").arg("--file").arg(&file);
                quiet(&mut command).with_context(|| format!("migration {}", file.display()))?;
            }
            Ok(())
        })
    }

    /// What the last of these statements answers, its columns as psql shows them without a frame.
    pub fn query(&self, sql: &str) -> Result<String> {
        let mut command = self.psql(OWNER, DATABASE);
        let output = command.args(["--tuples-only", "--no-align", "--command", sql]).output()?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn create(&self) -> Result<()> {
        let secret = self.directory.join("password");
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&secret)?;
        write!(file, "{}", self.password)?;
        if self.machine.is_root() {
            let uid = user_id(Some("postgres"))
                .context("there is no user `postgres`, and PostgreSQL refuses root")?;
            chown(&secret, Some(uid), None)?;
            chown(&self.directory, Some(uid), None)?;
        }
        let mut initdb = self.server_program("initdb");
        initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]);
        initdb.arg("--no-sync").arg("--pwfile").arg(&secret).arg(self.data());
        quiet(&mut initdb)?;
        self.configure()?;
        let mut start = self.server_program("pg_ctl");
        start.args(["start", "--wait", "--silent", "--log"]).arg(self.directory.join("log"));
        start.arg("--pgdata").arg(self.data());
        // Its output must not be a pipe of ours: the server would keep it open.
        start.stdout(Stdio::null()).stderr(Stdio::null());
        if !start.status()?.success() {
            let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            bail!("PostgreSQL does not start: {log}");
        }
        let owner = format!("create role {OWNER} login createrole createdb password '{}'", self.password);
        let database = format!("create database {DATABASE} owner {OWNER}");
        self.run_sql(&owner)?;
        self.run_sql(&database)
    }

    /// Not on the command line of the server: pg_ctl would hand that to a shell.
    fn configure(&self) -> Result<()> {
        let settings = format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nmax_connections = 200\n\
             fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n\
             shared_preload_libraries = 'pg_stat_statements'\n",
            self.port,
            self.directory.display()
        );
        let path = self.data().join("postgresql.conf");
        let mut file = std::fs::OpenOptions::new().append(true).open(&path)?;
        file.write_all(settings.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// On standard input, so that no password is seen in a list of processes.
    fn run_sql(&self, sql: &str) -> Result<()> {
        let mut command = self.psql("postgres", "postgres");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("psql reads its input")?.write_all(sql.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    fn psql(&self, user: &str, database: &str) -> Command {
        let mut command = self.machine.command(self.programs.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--host=127.0.0.1"]);
        command.args(["--port", &self.port.to_string(), "--username", user, "--dbname", database]);
        command.env("PGPASSWORD", &self.password).env("PGOPTIONS", "-c client_min_messages=warning");
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn server_program(&self, name: &str) -> Command {
        as_postgres(self.machine, self.programs.join(name))
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        remove(self.machine, &self.programs, &self.directory);
    }
}

fn as_postgres(machine: &Machine, program: impl AsRef<OsStr>) -> Command {
    let mut command = if machine.is_root() {
        let mut command = machine.command("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        machine.command(program)
    };
    // The clone may lie where the user postgres cannot go.
    command.current_dir("/");
    command
}

fn remove(machine: &Machine, programs: &Path, directory: &Path) {
    let mut stop = as_postgres(machine, programs.join("pg_ctl"));
    stop.args(["stop", "--wait", "--silent", "--mode=immediate", "--pgdata"]).arg(directory.join("data"));
    let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let _ = std::fs::remove_dir_all(directory);
}

/// A run that was killed leaves its cluster behind; the directory's name says whose it was.
fn sweep(machine: &Machine) {
    let (Some(programs), Ok(entries)) = (programs(), std::fs::read_dir(PARENT)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists() {
            remove(machine, &programs, &entry.path());
        }
    }
}

fn random_password() -> Result<String> {
    use std::io::Read;
    let mut bytes = [0_u8; 24];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Free now; taken by us a moment later. Two runs meet only if the system hands out one number twice in between.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn quiet(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::output_of;

    #[test]
    fn a_cluster_serves_its_owner_with_all_migrations_and_leaves_nothing() -> Result<()> {
        let machine = Machine::look()?;
        let cluster = Cluster::start(&machine)?;
        cluster.migrate()?;
        let mut command = cluster.psql(OWNER, DATABASE);
        command.args(["--tuples-only", "--no-align", "--command"]);
        command.arg("select rolsuper from pg_roles where rolname = current_user");
        assert_eq!(output_of(&mut command).as_deref(), Some("f"));
        let mut command = cluster.psql(OWNER, DATABASE);
        command.args([
            "--tuples-only",
            "--no-align",
            "--command",
            "select to_regclass('ops.runs') is not null",
        ]);
        assert_eq!(output_of(&mut command).as_deref(), Some("t"));
        let mut stranger = cluster.psql(OWNER, DATABASE);
        stranger.env("PGPASSWORD", "wrong").args(["--command", "select 1"]);
        assert!(!stranger.stderr(Stdio::null()).stdout(Stdio::null()).status()?.success());
        let directory = cluster.directory.clone();
        drop(cluster);
        assert!(!directory.exists());
        Ok(())
    }
}
