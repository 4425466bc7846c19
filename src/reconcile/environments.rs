//! Ends of environments: those that were told to go, and those whose run ended before they were published. What people
//! may have worked in is not removed with production's environment: its data goes to quarantine, and only a person
//! deletes it there.

use super::{
    QuarantineKind,
    containers::GRACE,
    databases::quarantine_database,
    directories::{aside, quarantine_directory},
    look::{Look, Reconciler, Round},
    quarantine::Aside,
    trouble::Trouble,
};
use crate::{
    branch::Stage,
    environment::{self, EnvironmentState, query::Environment},
    postgres::{database_name, quarantined_name},
    run::job::remove::{self, Patience},
};

pub struct Environments;

pub enum Job {
    End(Box<Environment>, EnvironmentState),
    /// What runs is removed, its data kept; why.
    SetAside(Box<Environment>, EnvironmentState, String),
}

const AROUND_A_RESTORE: &str = "its run was under way when the ops database was restored";

impl Reconciler for Environments {
    const NAME: &'static str = "environments";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let mut conn = round.shop.pool.acquire().await?;
        let live = environment::query::live(&mut conn).await?;
        let abandoned = environment::query::abandoned(&mut conn).await?;
        let mut look = Look::at(live.len());
        for environment in live.into_iter().filter(|it| it.host_id == Some(round.host)) {
            let (id, hostname) = (environment.id, environment.hostname.clone());
            let before = round.confirmed_at.is_some_and(|confirmed| environment.created_at <= confirmed);
            let environment = Box::new(environment);
            match environment.state {
                EnvironmentState::Destroying if environment.stage == Stage::Production => {
                    let why = format!("production's environment {hostname} was replaced, or destroyed");
                    let job = Job::SetAside(environment, EnvironmentState::Destroyed, why.clone());
                    look.finds(hostname, "quarantine", why, job);
                }
                EnvironmentState::Destroying => {
                    let job = Job::End(environment, EnvironmentState::Destroyed);
                    look.finds(hostname, "remove", "it is to be destroyed, or was replaced", job);
                }
                EnvironmentState::Building if abandoned.contains(&id) && before => {
                    // People may work in it, though the database says that it never came to be.
                    let why = format!("{hostname}: {AROUND_A_RESTORE}");
                    let job = Job::SetAside(environment, EnvironmentState::Failed, why);
                    look.finds(hostname, "quarantine", AROUND_A_RESTORE, job);
                }
                EnvironmentState::Building if abandoned.contains(&id) => {
                    let job = Job::End(environment, EnvironmentState::Failed);
                    look.finds(hostname, "remove", "its run ended before it was published", job);
                }
                _ => {}
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        let (environment, end) = match job {
            Job::End(environment, end) => {
                remove::remains_of(round.shop, round.collectors, environment, Patience::Round).await?;
                (environment, *end)
            }
            Job::SetAside(environment, end, why) => {
                set_aside(round, environment, why).await?;
                (environment, *end)
            }
        };
        let mut conn = round.shop.pool.acquire().await?;
        Ok(environment::query::set_state(&mut conn, environment.id, end).await?)
    }
}

/// The databases and directories of an environment go to quarantine. Its volumes wait for their own reconciler, which
/// finds that their environment has ended.
async fn set_aside(round: &Round<'_>, environment: &Environment, why: &str) -> Result<(), Trouble> {
    let (shop, id) = (round.shop, environment.id);
    for container in shop.docker.containers().await?.iter().filter(|it| it.labels.environment == Some(id)) {
        shop.docker.stop_container(&container.id, GRACE).await?;
    }
    remove::what_runs(shop, round.collectors, environment, Patience::Round).await?;
    let production = environment.stage == Stage::Production;
    if shop
        .tenants
        .list_databases()
        .await?
        .iter()
        .any(|database| database.environment == id && database.exists)
    {
        let database = Aside {
            kind: QuarantineKind::Database,
            name: quarantined_name(id),
            original_name: database_name(id),
            environment: Some(id),
            production,
            reason: why.to_owned().into(),
        };
        quarantine_database(round, id, &database).await?;
    }
    if tokio::fs::try_exists(shop.config.environment_dir(id)).await? {
        quarantine_directory(round, id, &aside(id, production, why.to_owned())).await?;
    }
    Ok(())
}
