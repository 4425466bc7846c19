//! An embedded cluster: made once, started by a supervisor, recovered after any end.
//!
//! ```text
//! <dir>/data    the cluster, mode 0700, owned by the account that runs it
//! <dir>/socket  its Unix socket, the only way in
//! ```

use super::{
    PostgresError,
    postmaster::{Output, Postmaster},
    programs::{Account, Programs},
    recovery, settings,
};
use crate::config::{Config, Secret};
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often a start is tried: leftovers of a killed server can need a moment.
const ATTEMPTS: u32 = 6;

/// What a cluster is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The ops database.
    Control,
    /// Environments' databases; its socket directory is mounted into their containers.
    Tenants,
    /// Tests: fast, and lost with the machine.
    Throwaway,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Tenants => "tenants",
            Self::Throwaway => "throwaway",
        }
    }

    /// Only the tenants' socket is for others than us.
    fn socket_mode(self) -> u32 {
        match self {
            Self::Tenants => 0o755,
            Self::Control | Self::Throwaway => 0o700,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Cluster {
    kind: Kind,
    dir: PathBuf,
    account: Account,
    programs: Programs,
    superuser: Secret,
}

impl Cluster {
    pub async fn control(config: &Config) -> Result<Self, PostgresError> {
        Self::new(Kind::Control, config.control_dir(), &config.secrets_dir(), config.postgres_bin.as_deref())
            .await
    }

    pub async fn tenants(config: &Config) -> Result<Self, PostgresError> {
        Self::new(Kind::Tenants, config.tenants_dir(), &config.secrets_dir(), config.postgres_bin.as_deref())
            .await
    }

    /// A cluster in `dir`, whose superuser's password is kept in `secrets`.
    pub async fn new(
        kind: Kind,
        dir: PathBuf,
        secrets: &Path,
        bin: Option<&Path>,
    ) -> Result<Self, PostgresError> {
        let account = Account::find()?;
        let made_by = fs::read_to_string(dir.join("data/PG_VERSION")).ok();
        let major = made_by.and_then(|text| text.trim().parse().ok());
        let programs = match (Programs::find(bin, major).await, major) {
            (Err(PostgresError::NoPrograms), Some(major)) => {
                return Err(PostgresError::WrongMajor { data: dir.join("data"), major });
            }
            (Ok(programs), Some(major)) if programs.major != major => {
                return Err(PostgresError::WrongMajor { data: dir.join("data"), major });
            }
            (programs, _) => programs?,
        };
        let superuser = Secret::load_or_create(&secrets.join(format!("{}-superuser.password", kind.name())))?;
        Ok(Self { kind, dir, account, programs, superuser })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// Makes the cluster when there is none, clears what an unclean end left, starts the server and waits until it
    /// takes connections.
    pub async fn start(&self, output: &Output) -> Result<Postmaster, PostgresError> {
        self.make_folders()?;
        if !self.data().join("PG_VERSION").is_file() {
            self.initialise().await?;
        }
        self.write_settings().await?;
        let mut attempt = 1;
        loop {
            recovery::clear(&self.data(), &self.socket()).await?;
            let mut postmaster = Postmaster::spawn(self.kind.name(), self.server_command(), output)?;
            match postmaster.ready(&self.data()).await {
                Ok(()) => return Ok(postmaster),
                Err(error @ PostgresError::Ended { .. }) if attempt < ATTEMPTS => {
                    tracing::warn!(cluster = self.kind.name(), attempt, %error, "starting PostgreSQL again");
                    tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn make_folders(&self) -> Result<(), PostgresError> {
        fs::create_dir_all(&self.dir).map_err(PostgresError::io(&self.dir))?;
        set_mode(&self.dir, 0o711)?;
        self.account.reaches(&self.dir)?;
        let socket = self.socket();
        fs::create_dir_all(&socket).map_err(PostgresError::io(&socket))?;
        set_mode(&socket, self.kind.socket_mode())?;
        self.account.own(&socket)
    }

    /// `initdb` into a directory aside, moved into place when complete: a kill leaves no half cluster.
    async fn initialise(&self) -> Result<(), PostgresError> {
        let aside = self.dir.join("data.new");
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(PostgresError::io(&aside))?;
        }
        fs::create_dir(&aside).map_err(PostgresError::io(&aside))?;
        set_mode(&aside, 0o700)?;
        self.account.own(&aside)?;
        // initdb reads the password as its own account, which may not read our secrets.
        let mut password = tempfile::Builder::new()
            .prefix(".superuser-")
            .tempfile_in(&self.dir)
            .map_err(PostgresError::io(&self.dir))?;
        writeln!(password, "{}", self.superuser.expose_secret())
            .map_err(PostgresError::io(password.path()))?;
        self.account.own(password.path())?;
        let output = self
            .account
            .command(&self.programs.program("initdb"))
            .args(["--username=postgres", "--auth-local=scram-sha-256", "--auth-host=scram-sha-256"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-instructions"])
            .arg("--pwfile")
            .arg(password.path())
            .arg("--pgdata")
            .arg(&aside)
            .output()
            .await
            .map_err(PostgresError::io(self.programs.program("initdb")))?;
        if !output.status.success() {
            let output_text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(PostgresError::Program {
                program: "initdb".to_owned(),
                status: output.status,
                output: output_text,
            });
        }
        let settings = aside.join("postgresql.conf");
        let mut file =
            fs::OpenOptions::new().append(true).open(&settings).map_err(PostgresError::io(&settings))?;
        file.write_all(settings::INCLUDES.as_bytes()).map_err(PostgresError::io(&settings))?;
        fs::rename(&aside, self.data()).map_err(PostgresError::io(&aside))
    }

    async fn write_settings(&self) -> Result<(), PostgresError> {
        let has_statements = self.programs.has_library("pg_stat_statements").await;
        let settings = settings::file(self.kind, settings::memory_mib(), has_statements);
        for (name, text) in [("odooops.conf", settings.as_str()), ("pg_hba.conf", settings::HBA)] {
            let path = self.data().join(name);
            let mut file = tempfile::NamedTempFile::new_in(self.data()).map_err(PostgresError::io(&path))?;
            file.write_all(text.as_bytes()).map_err(PostgresError::io(&path))?;
            self.account.own(file.path())?;
            file.persist(&path).map_err(|error| PostgresError::io(&path)(error.error))?;
        }
        Ok(())
    }

    fn server_command(&self) -> tokio::process::Command {
        let mut command = self.account.command(&self.programs.program("postgres"));
        command.arg("-D").arg(self.data()).args(settings::fixed(&self.data(), &self.socket()));
        command
    }

    /// How the superuser connects: for making roles and databases, nothing else.
    pub fn superuser_options(&self) -> PgConnectOptions {
        socket_options(&self.socket())
            .username("postgres")
            .password(self.superuser.expose_secret())
            .database("postgres")
    }
}

/// How to connect over a socket directory. `PG*` variables of whoever started us do not matter.
pub fn socket_options(socket: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("localhost")
        .socket(socket)
        .port(5432)
        .ssl_mode(PgSslMode::Disable)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), PostgresError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(PostgresError::io(path))
}
