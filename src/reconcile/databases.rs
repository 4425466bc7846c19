//! Databases and their roles. What an ended environment left is dropped; what the ops database does not know goes to
//! quarantine.

use super::{
    QuarantineKind,
    look::{Look, Reconciler, Round},
    owner::{Fate, Owners},
    quarantine::{self, Aside},
    trouble::Trouble,
};
use crate::{
    id::EnvironmentId,
    postgres::{database_name, quarantined_name},
};

pub struct Databases;

pub enum Job {
    Drop(EnvironmentId),
    Quarantine(EnvironmentId, Aside),
}

impl Reconciler for Databases {
    const NAME: &'static str = "databases";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let databases = round.shop.tenants.list_databases().await?;
        let owners = Owners::of(round, databases.iter().map(|it| it.environment)).await?;
        let put_back = quarantine::put_back_by_people(round, QuarantineKind::Database).await?;
        let mut look = Look::at(databases.len());
        for database in databases {
            let (id, name) = (database.environment, database_name(database.environment));
            match owners.fate(id) {
                Fate::Remove(_) | Fate::Quarantine(_) if put_back.contains(&name) => {}
                Fate::Owned => {}
                Fate::Remove(why) => look.finds(name, "drop", why, Job::Drop(id)),
                // A role alone is nobody's data, unless its database was on its way to quarantine.
                Fate::Quarantine(why)
                    if !database.exists && !round.shop.tenants.is_quarantined(id).await? =>
                {
                    look.finds(name, "drop role", why, Job::Drop(id));
                }
                Fate::Quarantine(why) => {
                    let production = owners.is_production(id, database.stage);
                    let aside = Aside {
                        kind: QuarantineKind::Database,
                        name: quarantined_name(id),
                        original_name: name.clone(),
                        environment: Some(id),
                        production,
                        reason: why.into(),
                    };
                    look.finds(name, "quarantine", why, Job::Quarantine(id, aside));
                }
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        match job {
            Job::Drop(id) => Ok(round.shop.tenants.drop_database(*id).await?),
            Job::Quarantine(id, aside) => quarantine_database(round, *id, aside).await,
        }
    }
}

pub(super) async fn quarantine_database(
    round: &Round<'_>,
    id: EnvironmentId,
    aside: &Aside,
) -> Result<(), Trouble> {
    let size = round.shop.tenants.database_size(id).await?;
    quarantine::write_down(round, aside, size).await?;
    Ok(round.shop.tenants.quarantine_database(id).await?)
}
