//! For tests: an empty cluster of one's own, where roles can be made and broken without a neighbour noticing. A
//! second or two; stopped and removed with it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot set itself up must stop")]

use super::{
    Cluster, Kind, Output, Postmaster, Programs,
    bootstrap::make_login,
    ops::connect,
    quote::{identifier, literal},
    recovery,
};
use crate::config::Secret;
use nix::sys::signal::{Signal, kill};
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::process::Command;

#[derive(Debug)]
pub struct TestCluster {
    pub cluster: Cluster,
    pub postmaster: Postmaster,
    /// One for every login that is made here.
    password: Secret,
    programs: Programs,
    _dir: TempDir,
}

impl TestCluster {
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("odooops-").tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("its mode");
        let secrets = dir.path().join("secrets");
        let path = dir.path().join("cluster");
        let cluster = Cluster::new(Kind::Throwaway, path, &secrets, None).await.expect("PostgreSQL is here");
        let postmaster =
            cluster.start(&Output::File(dir.path().join("log"))).await.expect("the cluster starts");
        let password = Secret::load_or_create(&secrets.join("roles.password")).expect("a password");
        let programs = Programs::find(None, None).await.expect("PostgreSQL is here");
        Self { cluster, postmaster, password, programs, _dir: dir }
    }

    /// A login with these attributes.
    pub async fn login(&self, role: &str, attributes: &str) {
        let mut conn = self.superuser("postgres").await;
        make_login(&mut conn, role, attributes, &self.password).await.expect("the role");
    }

    /// As `ops up`, or an administrator of a managed PostgreSQL, would make it: an owner who is nobody special.
    pub async fn database(&self, name: &str, owner: &str) {
        self.login(owner, "NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS").await;
        let mut conn = self.superuser("postgres").await;
        let sql = format!("CREATE DATABASE {} OWNER {}", identifier(name), identifier(owner));
        conn.execute(sql.as_str()).await.expect("the database");
    }

    /// Lets a role that migrations made log in.
    pub async fn open(&self, role: &str) {
        let mut conn = self.superuser("postgres").await;
        let sql = format!("ALTER ROLE {role} LOGIN PASSWORD {}", literal(self.password.expose_secret()));
        conn.execute(sql.as_str()).await.expect("the role's login");
    }

    pub fn options(&self, database: &str, role: &str) -> PgConnectOptions {
        let options = self.cluster.superuser_options().database(database);
        options.username(role).password(self.password.expose_secret())
    }

    pub fn pool(&self, database: &str, role: &str, connections: u32) -> PgPool {
        connect(self.options(database, role), connections)
    }

    pub async fn superuser(&self, database: &str) -> PgConnection {
        self.cluster.superuser_options().database(database).connect().await.expect("the cluster answers")
    }

    /// A program of PostgreSQL's, as that role.
    pub fn program(&self, program: &str, database: &str, role: &str) -> Command {
        let mut command = Command::new(self.program_path(program));
        command
            .env_clear()
            .env("PGHOST", self.cluster.socket())
            .env("PGDATABASE", database)
            .env("PGUSER", role)
            .env("PGPASSWORD", self.password.expose_secret())
            .stdin(Stdio::null());
        command
    }

    fn program_path(&self, program: &str) -> PathBuf {
        self.programs.program(program)
    }

    /// What psql says of a file, which it stops reading at the first error.
    pub async fn psql(&self, database: &str, role: &str, file: &Path) -> Result<(), String> {
        let output = self
            .program("psql", database, role)
            .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file"])
            .arg(file)
            .output()
            .await
            .expect("psql runs");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        let Ok(data) = self.cluster.data().canonicalize() else { return };
        let end = Instant::now() + Duration::from_secs(20);
        for pid in recovery::processes(&data) {
            _ = kill(pid, Signal::SIGQUIT);
        }
        while !recovery::processes(&data).is_empty() && Instant::now() < end {
            std::thread::yield_now();
        }
    }
}
