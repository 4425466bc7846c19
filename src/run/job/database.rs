//! The environment's database: a copy of a template with secrets of its own, and the file by which Odoo finds it.

use super::{JobError, collect::Collectors, progress::Progress, sources::Sources, template};
use crate::{
    environment::query::Environment,
    odoo::{conf::OdooConf, fresh},
    postgres::Login,
};
use nix::unistd::{Gid, Uid};
use std::{os::unix::fs::PermissionsExt, path::Path};

/// The uid and gid of Odoo's processes. None that a host or an image has, so that no file of theirs is readable to
/// them by accident; without root we cannot give files away and are it ourselves.
pub fn owner() -> (u32, u32) {
    const TENANTS: u32 = 64_100;
    if Uid::effective().is_root() {
        (TENANTS, TENANTS)
    } else {
        (Uid::effective().as_raw(), Gid::effective().as_raw())
    }
}

pub async fn create(
    progress: Progress<'_>,
    collectors: &Collectors,
    environment: &Environment,
    sources: &Sources,
) -> Result<(Login, String), JobError> {
    let shop = progress.shop;
    let template = template::ensure(progress, collectors, environment.stage.demo_and_tests()).await?;
    let connections = shop.config.environment_connections;
    let login =
        shop.tenants.create_database(environment.id, progress.claim.id, &template, connections).await?;
    let mut conn = shop.tenants.connect_as(&login).await?;
    fresh::freshen(&mut conn, &shop.urls.environment(&environment.hostname)).await?;
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
    write_conf(&folder, "filestore", &text).await?;
    let filestore = folder.join("filestore/filestore").join(&login.database);
    template::copy_filestore(template::filestore(progress, &template), filestore).await?;
    Ok((login, format!("a copy of {template}")))
}

/// Where a path below the checkout is inside the container.
fn container_path(path: &Path) -> String {
    Path::new("/mnt/src").join(path).display().to_string().trim_end_matches('/').to_owned()
}

/// Odoo's data directory at `data` below the folder, and beside it a configuration that only Odoo can read.
pub async fn write_conf(folder: &Path, data: &str, conf: &str) -> Result<(), JobError> {
    let (folder, data, conf) = (folder.to_owned(), folder.join(data), conf.to_owned());
    let (uid, gid) = owner();
    tokio::task::spawn_blocking(move || {
        use std::{
            fs,
            io::{ErrorKind, Write},
            os::unix::fs::{OpenOptionsExt, chown},
        };
        let filestore = data.join("filestore");
        fs::create_dir_all(&filestore)?;
        for made in [&data, &filestore] {
            fs::set_permissions(made, fs::Permissions::from_mode(0o700))?;
            chown(made, Some(uid), Some(gid))?;
        }
        let path = folder.join("odoo.conf");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
        file.write_all(conf.as_bytes())?;
        chown(&path, Some(uid), Some(gid))
    })
    .await
    .map_err(JobError::retry)?
    .map_err(JobError::retry)
}
