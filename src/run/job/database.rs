//! The environment's database: a copy of a template with secrets of its own, and the file by which Odoo finds it.

use super::{JobError, collect::Collectors, progress::Progress, sources::Sources, template};
use crate::{
    config::Config,
    environment::query::Environment,
    id::EnvironmentId,
    odoo::{conf::OdooConf, fresh, launch},
    postgres::Login,
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

/// Beside the environment's configuration: how to sign in as `admin`.
const ADMIN_PASSWORD: &str = "admin.password";

/// The environment's own database.
pub struct Database {
    pub login: Login,
    /// Odoo's administrator's password, as it stands in the file beside the configuration.
    pub admin: SecretString,
}

pub async fn create(
    progress: Progress<'_>,
    collectors: &Collectors,
    environment: &Environment,
    sources: &Sources,
) -> Result<(Database, String), JobError> {
    let shop = progress.shop;
    let template = template::ensure(progress, collectors, environment.stage.demo_and_tests()).await?;
    let connections = shop.config.environment_connections;
    let (run, stage) = (progress.claim.id, environment.stage);
    let login = shop.tenants.create_database(environment.id, run, stage, &template, connections).await?;
    let mut conn = shop.tenants.connect_as(&login).await?;
    let admin = fresh::freshen(&mut conn, &shop.urls.environment(&environment.hostname)).await?;
    drop(conn);
    let conf = OdooConf {
        database: login.database.clone(),
        role: login.role.clone(),
        password: login.password.clone(),
        connections,
        addons_path: sources.addons.paths.iter().map(|path| container_path(path)).collect(),
    };
    let text = conf.render().map_err(|error| JobError::fail(error.to_string()))?;
    let folder = shop.config.environment_dir(environment.id);
    write_folders(&folder, &text).await?;
    write_admin_password(folder.join(ADMIN_PASSWORD), admin.clone()).await?;
    let filestore = folder.join("data/filestore").join(&login.database);
    template::copy_filestore(template::filestore(progress, &template), filestore).await?;
    Ok((Database { login, admin }, format!("a copy of {template}")))
}

/// Odoo's administrator's password of an environment on this machine; None when there is no such environment here.
pub async fn admin_password(
    config: &Config,
    environment: EnvironmentId,
) -> std::io::Result<Option<SecretString>> {
    let path = config.environment_dir(environment).join(ADMIN_PASSWORD);
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(Some(text.trim().into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// For the people who run this machine: only its owner reads it, and no container gets it.
async fn write_admin_password(path: PathBuf, password: SecretString) -> Result<(), JobError> {
    tokio::task::spawn_blocking(move || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        writeln!(file, "{}", password.expose_secret())
    })
    .await
    .map_err(JobError::retry)?
    .map_err(JobError::retry)
}

/// Where a path below the checkout is inside the container.
fn container_path(path: &Path) -> String {
    Path::new("/mnt/src").join(path).display().to_string().trim_end_matches('/').to_owned()
}

/// Odoo's data directory `data`, and the folder with its configuration, which only Odoo can read.
pub async fn write_folders(folder: &Path, conf: &str) -> Result<(), JobError> {
    let (folder, conf) = (folder.to_owned(), conf.to_owned());
    tokio::task::spawn_blocking(move || {
        let (uid, gid) = launch::owner();
        for made in [folder.join("data"), folder.join("data/filestore")] {
            fs::create_dir_all(&made)?;
            fs::set_permissions(&made, fs::Permissions::from_mode(0o700))?;
            chown(&made, Some(uid), Some(gid))?;
        }
        launch::write_folder(&folder.join("etc"), &conf)
    })
    .await
    .map_err(JobError::retry)?
    .map_err(JobError::retry)
}
