//! Directories of environments (checkout, configuration, filestore) and of templates. What is named like neither is
//! not ours to touch.

use super::{
    QuarantineKind,
    look::{Look, Reconciler, Round},
    owner::{Fate, Owners, marked_stage},
    quarantine::{self, Aside},
    trouble::Trouble,
};
use crate::{id::EnvironmentId, postgres::TemplateName, run::job::sources::remove_tree};
use std::{
    borrow::Cow,
    collections::HashSet,
    io::ErrorKind,
    path::{Path, PathBuf},
    str::FromStr,
};

pub struct Directories;

pub enum Job {
    Remove(PathBuf),
    Quarantine(EnvironmentId, Aside),
}

impl Reconciler for Directories {
    const NAME: &'static str = "directories";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let config = &round.shop.config;
        let environments: Vec<EnvironmentId> = named(&config.environments_dir()).await?;
        let templates: Vec<TemplateName> = named(&config.templates_dir()).await?;
        // A template's database is made before its directory, so it is read after.
        let databases: HashSet<TemplateName> =
            round.shop.tenants.list_templates().await?.into_iter().collect();
        let owners = Owners::of(round, environments.iter().copied()).await?;
        let put_back = quarantine::put_back_by_people(round, QuarantineKind::Directory).await?;
        let mut look = Look::at(environments.len() + templates.len());
        for id in environments {
            let path = config.environment_dir(id);
            match owners.fate(id) {
                Fate::Owned => {}
                Fate::Remove(_) | Fate::Quarantine(_) if put_back.contains(&id.to_string()) => {}
                Fate::Remove(why) => look.finds(path.display(), "remove", why, Job::Remove(path.clone())),
                Fate::Quarantine(why) => {
                    let said = marked_stage(&path).await;
                    let aside = aside(id, owners.is_production(id, said), why);
                    look.finds(path.display(), "quarantine", why, Job::Quarantine(id, aside));
                }
            }
        }
        for name in templates.into_iter().filter(|name| !databases.contains(name)) {
            let path = config.templates_dir().join(name.to_string());
            look.finds(path.display(), "remove", "its template is gone", Job::Remove(path.clone()));
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        match job {
            Job::Remove(path) => Ok(remove_tree(path).await?),
            Job::Quarantine(id, aside) => quarantine_directory(round, *id, aside).await,
        }
    }
}

pub(super) fn aside(id: EnvironmentId, production: bool, reason: impl Into<Cow<'static, str>>) -> Aside {
    Aside {
        kind: QuarantineKind::Directory,
        name: id.to_string(),
        original_name: id.to_string(),
        environment: Some(id),
        production,
        reason: reason.into(),
    }
}

pub(super) async fn quarantine_directory(
    round: &Round<'_>,
    id: EnvironmentId,
    aside: &Aside,
) -> Result<(), Trouble> {
    let config = &round.shop.config;
    let from = config.environment_dir(id);
    let size = tokio::task::spawn_blocking({
        let from = from.clone();
        move || size_of(&from)
    })
    .await?;
    quarantine::write_down(round, aside, i64::try_from(size).ok()).await?;
    tokio::fs::create_dir_all(config.quarantine_dir()).await?;
    match tokio::fs::rename(&from, config.quarantine_dir().join(&aside.name)).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn size_of(folder: &Path) -> u64 {
    let files = walkdir::WalkDir::new(folder).follow_links(false).into_iter().filter_map(Result::ok);
    files.filter_map(|entry| entry.metadata().ok()).map(|about| about.len()).sum()
}

/// What in a folder is named like this.
pub(super) async fn named<T: FromStr>(folder: &Path) -> Result<Vec<T>, Trouble> {
    let mut found = Vec::new();
    let mut entries = match tokio::fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error.into()),
    };
    while let Some(entry) = entries.next_entry().await? {
        found.extend(entry.file_name().to_str().and_then(|name| name.parse().ok()));
    }
    Ok(found)
}
