//! Images of requirements that nobody used for a while, and what builds left without a name. Only those that this
//! installation built; one that a container of anybody's uses is refused by Docker and stays.

use super::{
    look::{Look, Reconciler, Round},
    owner::Owners,
    trouble::Trouble,
};
use crate::docker::{BuiltImage, DockerError};
use std::collections::HashSet;

pub struct Images;

impl Reconciler for Images {
    const NAME: &'static str = "images";
    type Job = String;

    async fn look(&self, round: &Round<'_>) -> Result<Look<String>, Trouble> {
        let images = round.shop.docker.built_images().await?;
        let owners = Owners::of(round, []).await?;
        let days = round.shop.config.unused_image_days;
        let wanted = Wanted::read(round, days).await?;
        let mut look = Look::at(images.len());
        for image in images {
            let BuiltImage { id, layers, run, created } = image;
            let is_old = created < wanted.since;
            if layers.is_empty() {
                match run {
                    Some(run) if !owners.is_active(run) => {
                        look.finds(&id, "remove", "a build left it, and is over", id.clone());
                    }
                    None if is_old => look.finds(&id, "remove", "a build left it", id.clone()),
                    // It may be a step of a build that is under way.
                    _ => {}
                }
            }
            for layer in layers.into_iter().filter(|layer| is_old && !wanted.names.contains(layer)) {
                let why = format!("no environment used it for {days} days");
                look.finds(&layer, "remove", why, layer.clone());
            }
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, name: &String) -> Result<(), Trouble> {
        match round.shop.docker.remove_image(name).await {
            Err(DockerError::Conflict(cause)) => Err(Trouble(format!("it is in use: {cause}"))),
            other => Ok(other?),
        }
    }
}

struct Wanted {
    /// Images that environments use, or did a short while ago.
    names: HashSet<String>,
    /// Who is older may go; seconds since 1970.
    since: i64,
}

impl Wanted {
    async fn read(round: &Round<'_>, days: u32) -> Result<Self, Trouble> {
        let days = i32::try_from(days).unwrap_or(i32::MAX);
        let mut conn = round.shop.pool.acquire().await?;
        let names = sqlx::query_scalar!(
            r#"select distinct image as "image!" from ops.environments
               where image is not null
                 and (state in ('building', 'running', 'stopped', 'destroying')
                      or coalesce(destroyed_at, created_at) > clock_timestamp() - make_interval(days => $1))"#,
            days
        );
        let names = names.fetch_all(&mut *conn).await?.into_iter().collect();
        let since = sqlx::query_scalar!(
            r#"select extract(epoch from clock_timestamp() - make_interval(days => $1))::bigint as "since!""#,
            days
        );
        Ok(Self { names, since: since.fetch_one(&mut *conn).await? })
    }
}
