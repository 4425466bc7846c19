//! What running environments print: each has exactly one collector, on its own host. Sources whose container is gone
//! are closed.

use super::{
    look::{Look, Reconciler, Round},
    trouble::Trouble,
};
use crate::{
    environment::{self, EnvironmentState},
    id::RunId,
};
use std::collections::HashSet;
use uuid::Uuid;

pub struct LogCollectors;

pub enum Job {
    Follow(RunId, String),
    Close(Uuid),
}

impl Reconciler for LogCollectors {
    const NAME: &'static str = "log_collectors";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let shop = round.shop;
        let containers: HashSet<String> =
            shop.docker.containers().await?.into_iter().map(|container| container.id).collect();
        let followed = round.collectors.followed();
        let mut conn = shop.pool.acquire().await?;
        let live = environment::query::live(&mut conn).await?;
        let sources = sqlx::query!(
            "select id, container_id, stream from ops.log_sources where collector = $1 and ended_at is null order by id",
            shop.name
        );
        let sources = sources.fetch_all(&mut *conn).await?;
        drop(conn);
        let running = live
            .into_iter()
            .filter(|it| it.state == EnvironmentState::Running && it.host_id == Some(round.host));
        let mut look = Look::at(sources.len());
        for environment in running {
            let (Some(id), Some(run)) = (environment.container_id, environment.run_id) else { continue };
            if containers.contains(&id) && !followed.contains(&id) {
                look.mends(
                    environment.hostname,
                    "collect",
                    "nobody reads what it prints",
                    Job::Follow(run, id),
                );
            }
        }
        for source in sources {
            if !containers.contains(&source.container_id) && !followed.contains(&source.container_id) {
                let object = format!("{} of {}", source.stream, source.container_id);
                look.mends(object, "close", "its container is gone", Job::Close(source.id));
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        match job {
            Job::Follow(run, container) if round.collectors.follow(*run, container) => Ok(()),
            Job::Follow(..) => Err(Trouble("this worker collects as many outputs as it may".to_owned())),
            Job::Close(source) => {
                sqlx::query_scalar!("select ops.end_log_source($1)", source)
                    .fetch_one(&round.shop.pool)
                    .await?;
                Ok(())
            }
        }
    }
}
