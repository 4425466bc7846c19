//! Volumes that nothing owns. Docker cannot rename one: it is listed as quarantined where it is, and removed later.

use super::{
    QuarantineKind,
    look::{Look, Reconciler, Round},
    owner::{Fate, Owners},
    quarantine::{self, Aside},
    trouble::Trouble,
};

pub struct Volumes;

pub enum Job {
    Remove(String),
    Quarantine(Aside),
}

impl Reconciler for Volumes {
    const NAME: &'static str = "volumes";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let volumes = round.shop.docker.volumes().await?;
        let owners = Owners::of(round, volumes.iter().filter_map(|it| it.labels.environment)).await?;
        let put_back = quarantine::put_back_by_people(round, QuarantineKind::Volume).await?;
        let listed = quarantine::listed(round, QuarantineKind::Volume).await?;
        let mut look = Look::at(volumes.len());
        for volume in volumes.into_iter().filter(|it| !owners.is_of_another_host(it.host)) {
            let fate = match volume.labels.environment {
                Some(id) => owners.fate(id),
                None => Fate::Quarantine("it does not say its environment"),
            };
            match fate {
                Fate::Owned => {}
                Fate::Remove(_) | Fate::Quarantine(_) if put_back.contains(&volume.name) => {}
                Fate::Quarantine(_) if listed.contains(&volume.name) => {}
                Fate::Remove(why) => {
                    look.finds(&volume.name, "remove", why, Job::Remove(volume.name.clone()))
                }
                Fate::Quarantine(why) => {
                    let environment = volume.labels.environment;
                    let aside = Aside {
                        kind: QuarantineKind::Volume,
                        name: volume.name.clone(),
                        original_name: volume.name.clone(),
                        environment,
                        production: environment.is_none_or(|id| owners.is_production(id, None)),
                        reason: why.into(),
                    };
                    look.finds(&volume.name, "quarantine", why, Job::Quarantine(aside));
                }
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        match job {
            Job::Remove(name) => Ok(round.shop.docker.remove_volume(name).await?),
            Job::Quarantine(aside) => quarantine::write_down(round, aside, None).await,
        }
    }
}
