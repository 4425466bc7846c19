//! What there is of an installation's environments, wherever things are, against what there should be.

use crate::installation::Installation;
use odooops::{
    config::{Config, Flags},
    docker::Docker,
    id::EnvironmentId,
    postgres::{Cluster, Kind, database_name},
};
use sqlx::{ConnectOptions, PgConnection};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

/// What was set aside counts too: nothing that a fault leaves may be data that nobody knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Belongings {
    pub containers: BTreeSet<Option<EnvironmentId>>,
    pub networks: BTreeSet<Option<EnvironmentId>>,
    pub databases: BTreeSet<String>,
    pub roles: BTreeSet<String>,
    pub folders: BTreeSet<String>,
}

impl Belongings {
    /// Of running environments, and nothing else.
    pub fn of(ids: &BTreeSet<EnvironmentId>) -> Self {
        let names: BTreeSet<String> = ids.iter().map(|id| database_name(*id)).collect();
        Self {
            containers: ids.iter().copied().map(Some).collect(),
            networks: ids.iter().copied().map(Some).collect(),
            databases: names.clone(),
            roles: names,
            folders: ids.iter().map(ToString::to_string).collect(),
        }
    }

    /// Without what was set aside.
    pub fn in_place(mut self) -> Self {
        for names in [&mut self.databases, &mut self.roles, &mut self.folders] {
            names.retain(|name| !name.starts_with("quarantine"));
        }
        self
    }

    pub async fn found(installation: &Installation, docker: &Docker) -> Self {
        Self::look(installation, docker).await.unwrap()
    }

    /// None while a part does not answer.
    pub async fn look(installation: &Installation, docker: &Docker) -> Option<Self> {
        Self::look_in(&installation.data, docker).await
    }

    /// Of a machine by its data directory.
    pub async fn look_in(data: &Path, docker: &Docker) -> Option<Self> {
        let mut conn = tenants_in(data, "postgres").await?;
        let databases = sqlx::query_scalar!(
            r#"select datname::text as "name!" from pg_catalog.pg_database 
               where datname like 'env%' or datname like 'quarantine%'"#
        );
        let databases = databases.fetch_all(&mut conn).await.ok()?;
        let roles = sqlx::query_scalar!(
            r#"select rolname::text as "name!" from pg_catalog.pg_roles 
               where rolname like 'env%' or rolname like 'quarantine%'"#
        );
        let roles = roles.fetch_all(&mut conn).await.ok()?;
        let config = config_in(data);
        let mut folders = names_in(&config.environments_dir()).ok()?;
        folders
            .extend(names_in(&config.quarantine_dir()).ok()?.iter().map(|name| format!("quarantine/{name}")));
        Some(Self {
            containers: docker.containers().await.ok()?.iter().map(|c| c.labels.environment).collect(),
            networks: docker.networks().await.ok()?.iter().map(|n| n.labels.environment).collect(),
            databases: databases.into_iter().collect(),
            roles: roles.into_iter().collect(),
            folders,
        })
    }
}

/// None of a folder that was never made.
fn names_in(folder: &Path) -> io::Result<BTreeSet<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.file_name().display().to_string()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

pub fn config(installation: &Installation) -> Config {
    config_in(&installation.data)
}

fn config_in(data: &Path) -> Config {
    let keys = BTreeMap::from([("data_dir", data.display().to_string())]);
    Config::load(&Flags { file: None, keys }, |_| None).unwrap()
}

/// A database of the tenants' cluster, as its superuser.
pub async fn tenants(installation: &Installation, database: &str) -> Option<PgConnection> {
    tenants_in(&installation.data, database).await
}

async fn tenants_in(data: &Path, database: &str) -> Option<PgConnection> {
    let cluster = Cluster::tenants(&config_in(data)).await.unwrap();
    assert_eq!(cluster.kind(), Kind::Tenants);
    cluster.superuser_options().database(database).connect().await.ok()
}
