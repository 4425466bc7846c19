//! The databases that environments are copied from: `base`, installed once per image, with demo data and without.
//! (Demo data loads only where all dependencies have theirs, so one template cannot serve both.)

use super::{JobError, collect::Collectors, image::Image, progress::Progress, sources::remove_tree};
use crate::{
    docker::{self, ContainerSpec, Labels, Limits, LogRotation, Mount, Tmpfs, names},
    id::InstallationId,
    odoo::{
        conf::OdooConf,
        judge::{Judge, Verdict},
        launch::{self, owner},
    },
    postgres::{TemplateBuild, TemplateName, TemplateState},
    run::LogLevel,
};
use std::path::{Path, PathBuf};

const MIB: u64 = 1024 * 1024;

/// The template for the platform's image, made when it is not there yet.
pub async fn ensure(
    progress: Progress<'_>,
    collectors: &Collectors,
    demo: bool,
) -> Result<TemplateName, JobError> {
    let shop = progress.shop;
    let image = shop.docker.image(&shop.config.odoo_image).await?;
    let image =
        image.ok_or_else(|| JobError::fail(format!("The image {} is gone.", shop.config.odoo_image)))?;
    let name = name(&image, shop.docker.installation(), demo)?;
    if shop.tenants.template_state(&name).await? == TemplateState::Finished {
        return Ok(name);
    }
    // Waits while another build makes the same one.
    if let Some(build) = shop.tenants.create_template(&name).await? {
        let line = "Preparing the template database; this happens once per image.";
        progress.log("system", LogLevel::Info, line).await?;
        make(progress, collectors, &name, demo, build).await?;
    }
    Ok(name)
}

/// Installations that share a cluster have templates of their own: each has the attachments on its own disk.
pub fn name(
    image: &docker::Image,
    installation: InstallationId,
    demo: bool,
) -> Result<TemplateName, JobError> {
    let digest: String = image.id.trim_start_matches("sha256:").chars().take(12).collect();
    let installation = installation.0.simple().to_string();
    let kind = if demo { "demo" } else { "plain" };
    Ok(format!("{kind}_{digest}_{}", &installation[20..]).parse()?)
}

/// Where the attachments of a template are.
pub fn filestore(progress: Progress<'_>, name: &TemplateName) -> PathBuf {
    progress.shop.config.templates_dir().join(name.to_string()).join("data/filestore").join(name.database())
}

async fn make(
    progress: Progress<'_>,
    collectors: &Collectors,
    name: &TemplateName,
    demo: bool,
    build: TemplateBuild,
) -> Result<(), JobError> {
    let shop = progress.shop;
    let folder = shop.config.templates_dir().join(name.to_string());
    remove_tree(&folder).await?;
    let conf = OdooConf {
        database: build.login.database.clone(),
        role: build.login.role.clone(),
        password: build.login.password.clone(),
        connections: 16,
        addons_path: Vec::new(),
    };
    let text = conf.render().map_err(|error| JobError::fail(error.to_string()))?;
    super::database::write_folders(&folder, &text).await?;
    let image = Image::named(&shop.config.odoo_image);
    let mut spec = ContainerSpec::new(
        names::template(progress.claim.id, progress.claim.lease),
        image.name.clone(),
        Labels::run(progress.claim.id),
    );
    let (uid, gid) = owner();
    spec.entrypoint = image.odoo();
    spec.command = [
        launch::config_option().as_str(),
        "--init=base",
        "--stop-after-init",
        "--max-cron-threads=0",
        "--workers=0",
        "--http-interface=0.0.0.0",
        if demo { "--with-demo" } else { "--without-demo=True" },
    ]
    .map(str::to_owned)
    .to_vec();
    spec.user = Some(format!("{uid}:{gid}"));
    spec.env = vec![("HOME".to_owned(), "/var/lib/odoo".to_owned())];
    let mount =
        |source: PathBuf, target: &str, read_only| Mount { source, target: target.to_owned(), read_only };
    spec.mounts = vec![
        mount(folder.join("etc"), launch::FOLDER, true),
        mount(folder.join("data"), "/var/lib/odoo", false),
        mount(shop.config.tenants_socket_dir(), "/var/run/postgresql", true),
    ];
    spec.tmpfs = vec![Tmpfs::new("/tmp", 256 * MIB)];
    spec.limits = Limits { memory_bytes: 2048 * MIB, cpus: 2.0, pids: 512 };
    spec.logs = LogRotation::Build { output_limit: 64 * MIB };
    let container = shop.docker.create_container(&spec).await?;
    shop.docker.start_container(&container).await?;
    let mut judge = Judge::new(&["base".to_owned()]);
    collectors.collect(progress.claim.id, &container, "template", |line| judge.feed(line)).await?;
    let exit = shop.docker.wait_container(&container).await?;
    let mut conn = shop.tenants.connect_as(&build.login).await?;
    let states = crate::odoo::modules::states(&mut conn).await?;
    drop(conn);
    shop.docker.remove_container(&container).await?;
    let judgement = judge.finish(Some(exit.code), &states);
    if judgement.verdict == Verdict::Red {
        return Err(JobError::fail(format!("The template database cannot be made: {}", judgement.summary)));
    }
    tokio::fs::remove_dir_all(folder.join("etc")).await.map_err(JobError::retry)?;
    Ok(build.finish().await?)
}

/// Copies a template's attachments into an environment's filestore.
pub async fn copy_filestore(from: PathBuf, to: PathBuf) -> Result<(), JobError> {
    tokio::task::spawn_blocking(move || copy_tree(&from, &to))
        .await
        .map_err(JobError::retry)?
        .map_err(JobError::retry)
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    let (uid, gid) = owner();
    for entry in walkdir::WalkDir::new(from).follow_links(false) {
        let entry = match entry {
            Ok(entry) => entry,
            // A template without attachments has no folder.
            Err(error) if error.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound) => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let target = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&target)?;
        } else if entry.file_type().is_file() {
            std::fs::copy(entry.path(), &target)?;
        }
        std::os::unix::fs::chown(&target, Some(uid), Some(gid))?;
    }
    Ok(())
}
