//! A control cluster as `ops up` starts it, with its settings, for the measurement alone.

use crate::installation::scratch;
use anyhow::{Context, Result, ensure};
use odooops::{
    config::Secret,
    postgres::{
        Cluster, Kind, Output, Postmaster, Programs, bootstrap_control,
        ops::{MIGRATIONS, Role, connect, open_login},
    },
};
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Executor, PgConnection, postgres::PgConnectOptions};
use std::{path::PathBuf, process::Command};
use tempfile::TempDir;

pub struct Bench {
    cluster: Cluster,
    postmaster: Option<Postmaster>,
    programs: Programs,
    password: Secret,
    superuser: Secret,
    folder: TempDir,
}

/// The database of everything that is not ours.
pub const PEERS: &str = "peers";

impl Bench {
    pub async fn start() -> Result<Self> {
        let folder = scratch()?;
        let secrets = folder.path().join("secrets");
        let cluster = Cluster::new(Kind::Control, folder.path().join("control"), &secrets, None).await?;
        let postmaster = cluster.start(&Output::File(folder.path().join("log"))).await?;
        let password = Secret::load_or_create(&secrets.join("roles.password"))?;
        let superuser = Secret::load_or_create(&secrets.join("control-superuser.password"))?;
        let programs = Programs::find(None, None).await?;
        bootstrap_control(&cluster, &password).await?;
        let bench = Self { cluster, postmaster: Some(postmaster), programs, password, superuser, folder };
        let owner = connect(bench.options("ops", Role::Owner.name()), 2);
        MIGRATIONS.run(&owner).await?;
        for role in [Role::Web, Role::Worker] {
            open_login(&owner, role, &bench.password).await?;
        }
        owner.close().await;
        let mut postgres = bench.superuser("postgres").await?;
        postgres.execute(format!("create database {PEERS}").as_str()).await?;
        bench.superuser("ops").await?.execute("select ops.ensure_partitions()").await?;
        Ok(bench)
    }

    pub fn options(&self, database: &str, role: &str) -> PgConnectOptions {
        let options = self.cluster.superuser_options().database(database);
        options.username(role).password(self.password.expose_secret())
    }

    pub async fn superuser(&self, database: &str) -> Result<PgConnection> {
        Ok(self.cluster.superuser_options().database(database).connect().await?)
    }

    /// For programs that take an address.
    pub fn url(&self, database: &str) -> String {
        let socket = self.cluster.socket().display().to_string().replace('/', "%2F");
        format!(
            "postgres://postgres:{}@localhost:5432/{database}?host={socket}",
            self.superuser.expose_secret()
        )
    }

    /// One of PostgreSQL's programs, as the superuser.
    pub fn program(&self, name: &str, database: &str) -> Command {
        let mut command = Command::new(self.programs.program(name));
        command
            .env("PGHOST", self.cluster.socket())
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", self.superuser.expose_secret())
            .env("PGDATABASE", database);
        command
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// How many times a second this disk makes a write last, by the call that PostgreSQL uses.
    pub fn flushes(&self) -> Result<f64> {
        let output = Command::new(self.programs.program("pg_test_fsync"))
            .args(["--secs-per-test=1", "--filename"])
            .arg(self.folder.path().join("flush"))
            .output()
            .context("pg_test_fsync")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.trim_start().starts_with("fdatasync"));
        let rate = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        rate.context("pg_test_fsync tells no figure for fdatasync")
    }

    pub async fn stop(mut self) -> Result<()> {
        if let Some(mut postmaster) = self.postmaster.take() {
            let status = postmaster.stop().await?;
            ensure!(status.success(), "PostgreSQL ended with {status}");
        }
        Ok(())
    }
}
