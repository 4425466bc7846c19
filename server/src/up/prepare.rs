//! What must be there before the roles start: folders, roles, the schema, and the proof that data directory and
//! database belong together.

use super::log::Log;
use crate::Failure;
use odooops::{
    config::{Config, Secret},
    id::InstallationId,
    postgres::{
        Cluster, Kind, Tenants, bootstrap_control, bootstrap_tenants,
        ops::{self, Role},
    },
    reconcile::epoch::OnDisk,
};
use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

/// The data directory can be passed through, not listed; most of what is in it is ours alone.
pub fn folders(config: &Config) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let dir = &config.data_dir;
    fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).map_err(|error| failed(dir, error))?;
    for (path, mode) in [
        (config.secrets_dir(), 0o700),
        (config.logs_dir(), 0o700),
        (config.git_dir(), 0o700),
        (config.data_dir.join("proxy"), 0o700),
        (config.environments_dir(), 0o711),
    ] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&path)
            .map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// The roles and databases that an embedded cluster begins with.
pub async fn roles(config: &Config, cluster: &Cluster) -> Result<(), Failure> {
    match cluster.kind() {
        Kind::Control => bootstrap_control(cluster, &Role::Owner.password(config)?).await?,
        Kind::Tenants | Kind::Throwaway => {
            let admin: Secret = Tenants::admin_password(config)?;
            bootstrap_tenants(cluster, &admin).await?;
        }
    }
    Ok(())
}

/// The schema of this program, in the database that belongs to this directory.
pub async fn databases(config: &Config, log: &Log) -> Result<(), Failure> {
    let owner = ops::pool(config, Role::Owner, 2)?;
    ops::migrate(config, &owner).await?;
    owner.close().await;
    let worker = ops::pool(config, Role::Worker, 1)?;
    let id = sqlx::query_scalar!("select id from ops.installation").fetch_one(&worker).await?;
    worker.close().await;
    log.say("the ops database is up to date");
    same_installation(&config.installation_file(), InstallationId(id))
}

/// The database's id stands in the data directory too. A stranger's database would make everything here ownerless.
/// The epoch beside it is the worker's to write.
fn same_installation(path: &Path, id: InstallationId) -> Result<(), Failure> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    match OnDisk::read(path).map_err(failed)? {
        Some(there) if there.installation == id => Ok(()),
        Some(there) => Err(format!(
            "{} says that this directory belongs to installation {}, but the ops database is of {id}: use the data \
             directory and the database that belong together",
            path.display(),
            there.installation
        )
        .into()),
        None => Ok(OnDisk { installation: id, epoch: None }.write(path).map_err(failed)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stays_with_its_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("installation");
        let id = InstallationId::new();
        same_installation(&path, id).unwrap();
        same_installation(&path, id).unwrap();
        assert!(same_installation(&path, InstallationId::new()).is_err());
    }
}
