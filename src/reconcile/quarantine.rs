//! Data out of the way: put back when somebody asks for it or its environment lives again, deleted when its time is
//! over or somebody asks for that. Production's has no time.

use super::{
    QuarantineKind, Quarantined,
    directories::named,
    look::{Look, Reconciler, Round},
    owner::{Owners, marked_stage},
    query,
    trouble::Trouble,
};
use crate::{
    id::{EnvironmentId, QuarantineId},
    postgres::{database_name, quarantined_name},
    run::job::sources::remove_tree,
};
use sqlx::postgres::types::PgInterval;
use std::{borrow::Cow, collections::HashSet, io::ErrorKind};

/// Something that goes to quarantine.
pub struct Aside {
    pub kind: QuarantineKind,
    pub name: String,
    pub original_name: String,
    pub environment: Option<EnvironmentId>,
    pub production: bool,
    pub reason: Cow<'static, str>,
}

/// Before it is moved, so that nothing is out of the way without being listed.
pub(super) async fn write_down(round: &Round<'_>, aside: &Aside, size: Option<i64>) -> Result<(), Trouble> {
    let days = i32::try_from(round.shop.config.quarantine_days).unwrap_or(i32::MAX);
    sqlx::query!(
        r#"select ops.quarantine_object($1, $2, $3, $4, $5, $6, $7, $8, $9) as "id!""#,
        round.host.0,
        aside.kind.as_str(),
        aside.name,
        aside.original_name,
        aside.environment.map(|id| id.0),
        aside.production,
        &*aside.reason,
        size,
        PgInterval { months: 0, days, microseconds: 0 }
    )
    .fetch_one(&round.shop.pool)
    .await?;
    Ok(())
}

/// What people had put back stays where it is.
pub(super) async fn put_back_by_people(
    round: &Round<'_>,
    kind: QuarantineKind,
) -> Result<HashSet<String>, Trouble> {
    let names = sqlx::query_scalar!(
        "select original_name from ops.quarantine
         where host_id = $1 and kind = $2 and restored_at is not null and restore_requested_at is not null",
        round.host.0,
        kind.as_str()
    );
    Ok(names.fetch_all(&round.shop.pool).await?.into_iter().collect())
}

pub(super) async fn listed(round: &Round<'_>, kind: QuarantineKind) -> Result<HashSet<String>, Trouble> {
    let names = sqlx::query_scalar!(
        "select name from ops.quarantine
         where host_id = $1 and kind = $2 and deleted_at is null and restored_at is null",
        round.host.0,
        kind.as_str()
    );
    Ok(names.fetch_all(&round.shop.pool).await?.into_iter().collect())
}

pub struct Quarantine;

pub enum Job {
    Delete(Box<Quarantined>),
    PutBack(Box<Quarantined>),
    /// It was deleted by hand, or the last thing done was not written down.
    Forget(QuarantineId),
    List(Aside),
}

/// What is in quarantine by name, whatever is listed.
struct There {
    databases: HashSet<EnvironmentId>,
    directories: HashSet<EnvironmentId>,
    volumes: HashSet<String>,
    asides: Vec<Aside>,
}

const UNLISTED: &str = "it was found in quarantine and not in the list";

async fn there(round: &Round<'_>) -> Result<There, Trouble> {
    let shop = round.shop;
    let quarantined = shop.tenants.list_quarantined().await?;
    let folders: Vec<EnvironmentId> = named(&shop.config.quarantine_dir()).await?;
    let volumes = shop.docker.volumes().await?.into_iter().map(|volume| volume.name).collect();
    let ids = quarantined.iter().map(|it| it.environment).chain(folders.iter().copied());
    let owners = Owners::of(round, ids).await?;
    let mut asides = Vec::new();
    for database in &quarantined {
        let id = database.environment;
        asides.push(Aside {
            kind: QuarantineKind::Database,
            name: quarantined_name(id),
            original_name: database_name(id),
            environment: Some(id),
            production: owners.is_production(id, database.stage),
            reason: UNLISTED.into(),
        });
    }
    for id in &folders {
        let said = marked_stage(&shop.config.quarantine_dir().join(id.to_string())).await;
        asides.push(super::directories::aside(*id, owners.is_production(*id, said), UNLISTED));
    }
    Ok(There {
        databases: quarantined.iter().map(|it| it.environment).collect(),
        directories: folders.into_iter().collect(),
        volumes,
        asides,
    })
}

impl There {
    fn has(&self, row: &Quarantined) -> bool {
        match row.kind {
            QuarantineKind::Database => row.environment_id.is_some_and(|id| self.databases.contains(&id)),
            QuarantineKind::Directory => row.environment_id.is_some_and(|id| self.directories.contains(&id)),
            QuarantineKind::Volume => self.volumes.contains(&row.name),
        }
    }
}

impl Reconciler for Quarantine {
    const NAME: &'static str = "quarantine";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let there = there(round).await?;
        let mut conn = round.shop.pool.acquire().await?;
        let rows = query::quarantine_of(&mut conn, round.host).await?;
        let due = due(&mut conn, round).await?;
        drop(conn);
        let owners = Owners::of(round, rows.iter().filter_map(|row| row.environment_id)).await?;
        let mut look = Look::at(rows.len());
        for row in &rows {
            let boxed = || Box::new(row.clone());
            let lives = row.environment_id.is_some_and(|id| owners.lives(id));
            if row.restore_requested_at.is_some() {
                look.mends(&row.name, "put back", "somebody asked for it", Job::PutBack(boxed()));
            } else if lives {
                look.mends(&row.name, "put back", "its environment is there again", Job::PutBack(boxed()));
            } else if !there.has(row) && !still_outside(round, row).await? {
                look.mends(&row.name, "forget", "it is gone", Job::Forget(row.id));
            } else if row.delete_requested_at.is_some() {
                look.finds(&row.name, "delete", "somebody asked for it", Job::Delete(boxed()));
            } else if due.contains(&row.id) {
                look.finds(&row.name, "delete", "its time in quarantine is over", Job::Delete(boxed()));
            }
        }
        let is_listed =
            |aside: &Aside| rows.iter().any(|row| row.kind == aside.kind && row.name == aside.name);
        for aside in there.asides.into_iter().filter(|aside| !is_listed(aside)) {
            look.mends(aside.name.clone(), "list", UNLISTED, Job::List(aside));
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        match job {
            Job::Delete(row) => noted(round, row, delete(round, row).await, false).await,
            Job::PutBack(row) => noted(round, row, put_back(round, row).await, true).await,
            Job::Forget(id) => end(round, *id, false).await,
            Job::List(aside) => write_down(round, aside, None).await,
        }
    }
}

/// It was written down, and the move was cut off or fails.
async fn still_outside(round: &Round<'_>, row: &Quarantined) -> Result<bool, Trouble> {
    let Some(id) = row.environment_id else { return Ok(false) };
    Ok(match row.kind {
        QuarantineKind::Database => {
            round.shop.tenants.list_databases().await?.iter().any(|database| database.environment == id)
        }
        QuarantineKind::Directory => tokio::fs::try_exists(round.shop.config.environment_dir(id)).await?,
        QuarantineKind::Volume => false,
    })
}

/// Whose time is over by PostgreSQL's clock.
async fn due(conn: &mut sqlx::PgConnection, round: &Round<'_>) -> Result<HashSet<QuarantineId>, Trouble> {
    let ids = sqlx::query_scalar!(
        "select id from ops.quarantine
         where host_id = $1 and delete_after < clock_timestamp() and deleted_at is null and restored_at is null",
        round.host.0
    );
    Ok(ids.fetch_all(conn).await?.into_iter().map(Into::into).collect())
}

async fn delete(round: &Round<'_>, row: &Quarantined) -> Result<(), Trouble> {
    let shop = round.shop;
    match (row.kind, row.environment_id) {
        (QuarantineKind::Database, Some(id)) => Ok(shop.tenants.drop_quarantined(id).await?),
        (QuarantineKind::Directory, Some(id)) => {
            Ok(remove_tree(&shop.config.quarantine_dir().join(id.to_string())).await?)
        }
        (QuarantineKind::Volume, _) => Ok(shop.docker.remove_volume(&row.name).await?),
        (_, None) => Err(Trouble("it does not say its environment".to_owned())),
    }
}

async fn put_back(round: &Round<'_>, row: &Quarantined) -> Result<(), Trouble> {
    let config = &round.shop.config;
    match (row.kind, row.environment_id) {
        (QuarantineKind::Database, Some(id)) => Ok(round.shop.tenants.put_database_back(id).await?),
        (QuarantineKind::Directory, Some(id)) => {
            let (from, to) = (config.quarantine_dir().join(id.to_string()), config.environment_dir(id));
            // A rename over an empty directory would succeed; over anything else nothing is lost.
            match tokio::fs::rename(from, &to).await {
                Err(error) if error.kind() == ErrorKind::NotFound && tokio::fs::try_exists(&to).await? => {
                    Ok(())
                }
                other => Ok(other?),
            }
        }
        (QuarantineKind::Volume, _) => Ok(()),
        (_, None) => Err(Trouble("it does not say its environment".to_owned())),
    }
}

/// The list says how it went.
async fn noted(
    round: &Round<'_>,
    row: &Quarantined,
    outcome: Result<(), Trouble>,
    restored: bool,
) -> Result<(), Trouble> {
    match outcome {
        Ok(()) => end(round, row.id, restored).await,
        Err(Trouble(cause)) => {
            sqlx::query!(r#"select ops.fail_quarantine($1, $2) as "done: ()""#, row.id.0, cause)
                .fetch_one(&round.shop.pool)
                .await?;
            Err(Trouble(cause))
        }
    }
}

async fn end(round: &Round<'_>, id: QuarantineId, restored: bool) -> Result<(), Trouble> {
    sqlx::query!(r#"select (ops.end_quarantine($1, $2)).id as "id!""#, id.0, restored)
        .fetch_one(&round.shop.pool)
        .await?;
    Ok(())
}
