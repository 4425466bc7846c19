//! Where things are in the data directory. Nothing else spells these names.

use super::Config;
use crate::id::{EnvironmentId, ProjectId};
use std::path::PathBuf;

impl Config {
    fn within(&self, path: &str) -> PathBuf {
        self.data_dir.join(path)
    }

    /// Passwords and keys, each a file of mode 0600.
    pub fn secrets_dir(&self) -> PathBuf {
        self.within("secrets")
    }

    /// The embedded cluster of the ops database: `data` and `socket`.
    pub fn control_dir(&self) -> PathBuf {
        self.within("control")
    }

    /// The embedded cluster of the environments' databases: `data` and `socket`.
    pub fn tenants_dir(&self) -> PathBuf {
        self.within("tenants")
    }

    /// The directory that environments' containers get, read-only, at /var/run/postgresql.
    pub fn tenants_socket_dir(&self) -> PathBuf {
        self.within("tenants/socket")
    }

    pub fn git_dir(&self) -> PathBuf {
        self.within("git")
    }

    pub fn repository(&self, project: ProjectId) -> PathBuf {
        self.git_dir().join(format!("{project}.git"))
    }

    pub fn environments_dir(&self) -> PathBuf {
        self.within("environments")
    }

    /// An environment's `etc`, `src` and `data`.
    pub fn environment_dir(&self, environment: EnvironmentId) -> PathBuf {
        self.environments_dir().join(environment.to_string())
    }

    /// Environments' directories that nothing owns any more.
    pub fn quarantine_dir(&self) -> PathBuf {
        self.within("quarantine")
    }

    /// What runs produced, where it is kept on this machine.
    pub fn artifacts_dir(&self) -> PathBuf {
        self.within("artifacts")
    }

    /// Which installation this directory belongs to, and its epoch.
    pub fn installation_file(&self) -> PathBuf {
        self.within("installation")
    }

    /// The attachments of the template databases: `<template>/data/filestore`.
    pub fn templates_dir(&self) -> PathBuf {
        self.within("templates")
    }

    /// The proxy's copy of its routes, for when the ops database does not answer.
    pub fn routes_file(&self) -> PathBuf {
        self.within("proxy/routes.json")
    }

    /// The console's HTTP, reached only through the proxy.
    pub fn serve_socket(&self) -> PathBuf {
        self.within("serve.sock")
    }

    /// `/api/v1` as platform administrator, and the git hooks' way in. Mode 0600.
    pub fn ops_socket(&self) -> PathBuf {
        self.within("ops.sock")
    }

    /// The worker's private listener: shells, files, images. Mode 0600.
    pub fn worker_socket(&self) -> PathBuf {
        self.within("worker.sock")
    }

    /// Held by the one supervisor of this data directory.
    pub fn lock_file(&self) -> PathBuf {
        self.within("up.lock")
    }

    pub fn logs_dir(&self) -> PathBuf {
        self.within("logs")
    }

    /// The console's address, as in links: `http://localhost:3000`.
    pub fn public_url(&self) -> String {
        format!("{}://{}", self.public_scheme.as_str(), self.base_domain)
    }
}
