//! The commit's files, its addons and what they ask for.

use super::{JobError, progress::Progress};
use crate::{
    branch::CommitSha,
    docker::Labels,
    environment::query::Environment,
    git::{CheckoutLimits, GitUrl},
    node::{Identity, control},
    odoo::addons::Addons,
    project,
    reconcile::owner,
    run::LogLevel,
};
use std::path::PathBuf;

/// What a checkout gave.
pub struct Sources {
    pub root: PathBuf,
    pub addons: Addons,
}

pub async fn check_out(
    progress: Progress<'_>,
    environment: &Environment,
) -> Result<(Sources, String), JobError> {
    let shop = progress.shop;
    let commit =
        CommitSha::parse(&environment.commit_sha).map_err(|error| JobError::fail(error.to_string()))?;
    let folder = shop.config.environment_dir(environment.id);
    let root = folder.join("src");
    // What an earlier attempt left is not trusted.
    remove_tree(&root).await?;
    tokio::fs::create_dir_all(&root).await.map_err(JobError::retry)?;
    let labels = Labels::environment(progress.claim.id, environment.id);
    owner::mark(&folder, labels, environment.stage).await.map_err(JobError::retry)?;
    let repository = shop.repositories.of(environment.project_id);
    // On the console's machine the repository is the project's own; elsewhere a cache of what was built here.
    if let Some(identity) = Identity::of(&shop.config).map_err(JobError::retry)? {
        let from = control::sources(&shop.config, &identity, environment.project_id).await;
        repository.fetch_from_node(&from.map_err(JobError::retry)?, &commit).await?;
    }
    let origin = origin(progress, environment).await?;
    let checkout = repository.check_out(&commit, &root, origin.as_ref(), CheckoutLimits::default()).await?;
    let found = root.clone();
    let addons = tokio::task::spawn_blocking(move || Addons::find(&found))
        .await
        .map_err(JobError::retry)?
        .map_err(|error| JobError::fail(error.to_string()))?;
    for warning in &addons.warnings {
        progress.log("git", LogLevel::Warn, warning).await?;
    }
    let counted = |count, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let note =
        format!("{}, {}", counted(checkout.files, "file"), counted(addons.modules.len() as u64, "module"));
    Ok((Sources { root, addons }, note))
}

/// Where the project is fetched from: submodules may be named relative to it.
async fn origin(progress: Progress<'_>, environment: &Environment) -> Result<Option<GitUrl>, JobError> {
    let shop = progress.shop;
    let mut conn = shop.pool.acquire().await?;
    let url = project::query::remote_url(&mut conn, environment.project_id).await?;
    Ok(url.map(|url| GitUrl::parse(&url, shop.config.allow_file_remotes)).transpose()?)
}

pub async fn remove_tree(path: &std::path::Path) -> Result<(), JobError> {
    match tokio::fs::remove_dir_all(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(JobError::retry(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
