//! For tests: a tenants cluster of one's own, as `ops up` would start it. Two seconds; stopped and removed with it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot set itself up must stop")]

use super::{
    Cluster, Kind, Output, Postmaster, Tenants, bootstrap::TENANTS_ADMIN, bootstrap_tenants,
    cluster::socket_options, recovery,
};
use crate::{config::Secret, id::InstallationId};
use nix::sys::signal::{Signal, kill};
use secrecy::ExposeSecret;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;

#[derive(Debug)]
pub struct TestTenants {
    pub tenants: Tenants,
    pub cluster: Cluster,
    pub postmaster: Postmaster,
    _dir: TempDir,
}

impl TestTenants {
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("odooops-").tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("its mode");
        let secrets = dir.path().join("secrets");
        let path = dir.path().join("tenants");
        let cluster =
            Cluster::new(Kind::Tenants, path.clone(), &secrets, None).await.expect("PostgreSQL is here");
        let postmaster =
            cluster.start(&Output::File(dir.path().join("log"))).await.expect("the cluster starts");
        let admin = Secret::load_or_create(&secrets.join("admin.password")).expect("a password");
        bootstrap_tenants(&cluster, &admin).await.expect("the administrator's role");
        let options = socket_options(&cluster.socket())
            .username(TENANTS_ADMIN)
            .password(admin.expose_secret())
            .database("postgres");
        Self { tenants: Tenants::new(options, InstallationId::new()), cluster, postmaster, _dir: dir }
    }

    /// The same cluster as another installation uses it.
    pub fn of(&self, installation: InstallationId) -> Tenants {
        Tenants::new(self.tenants.admin_options("postgres"), installation)
    }

    /// What to mount at /var/run/postgresql.
    pub fn socket(&self) -> PathBuf {
        self.cluster.socket()
    }
}

impl Drop for TestTenants {
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
