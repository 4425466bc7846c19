//! Whose an object is, and what becomes of it when it is nobody's.

use super::look::Round;
use crate::{
    branch::Stage,
    docker::Labels,
    environment::{self, EnvironmentState},
    id::{EnvironmentId, HostId, RunId},
};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use std::{
    collections::{HashMap, HashSet},
    path::Path,
};
use uuid::Uuid;

/// What the ops database knows of an environment.
#[derive(Debug, Clone)]
struct Known {
    state: EnvironmentState,
    stage: Stage,
    host: Option<HostId>,
    created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Owned,
    /// Known, and over; why.
    Remove(&'static str),
    /// Perhaps somebody's data; why.
    Quarantine(&'static str),
}

/// Who may own something, read after the things themselves.
pub(super) struct Owners {
    host: HostId,
    /// They may use the same Docker daemon.
    other_hosts: HashSet<HostId>,
    /// It is not the console's machine.
    is_joined: bool,
    confirmed_at: Option<DateTime<Utc>>,
    environments: HashMap<EnvironmentId, Known>,
    active: HashSet<RunId>,
}

impl Owners {
    /// Of what these environments, and any runs, may own.
    pub async fn of(
        round: &Round<'_>,
        environments: impl IntoIterator<Item = EnvironmentId>,
    ) -> Result<Self, crate::Error> {
        let ids: Vec<Uuid> = environments.into_iter().map(|id| id.0).collect();
        let mut conn = round.shop.pool.acquire().await?;
        let hosts =
            sqlx::query!(r#"select id as "id: HostId", joined_at is not null as "joined!" from ops.hosts"#);
        let (own, others): (Vec<_>, Vec<_>) =
            hosts.fetch_all(&mut *conn).await?.into_iter().partition(|it| it.id == round.host);
        Ok(Self {
            host: round.host,
            other_hosts: others.into_iter().map(|it| it.id).collect(),
            is_joined: own.iter().any(|it| it.joined),
            confirmed_at: round.confirmed_at,
            environments: known(&mut conn, &ids).await?,
            active: environment::query::active_runs(&mut conn).await?,
        })
    }

    /// Whether something in Docker is another host's to see to: one that is known made it. What says nothing is of the
    /// time when there was the console's machine only; what a host made that was forgotten is whoever's daemon it is on.
    pub fn is_of_another_host(&self, made_by: Option<HostId>) -> bool {
        match made_by {
            Some(host) => self.other_hosts.contains(&host),
            None => self.is_joined,
        }
    }

    /// Of data. A restored database may think that an environment never came to be in which people work.
    pub fn fate(&self, environment: EnvironmentId) -> Fate {
        use EnvironmentState as State;
        let Some(known) = self.environments.get(&environment) else {
            return Fate::Quarantine("the ops database does not know its environment");
        };
        let is_here = known.host.is_none_or(|host| host == self.host);
        match known.state {
            State::Building | State::Running | State::Stopped | State::Destroying if is_here => Fate::Owned,
            State::Building if !self.is_of_before(known) => {
                Fate::Remove("its environment is built on another host")
            }
            State::Building | State::Running | State::Stopped | State::Destroying => {
                Fate::Quarantine("its environment is on another host")
            }
            // Its run published it, so people have worked in it.
            State::Destroyed if known.stage == Stage::Production => {
                Fate::Quarantine("its environment was destroyed, and was production's")
            }
            State::Destroyed => Fate::Remove("its environment was destroyed"),
            State::Failed if self.is_of_before(known) => {
                Fate::Quarantine("its environment failed around a restore of the ops database")
            }
            State::Failed => Fate::Remove("its environment failed"),
        }
    }

    /// Whether its data belongs where it was. One that was told to go only has not gone yet.
    pub fn lives(&self, environment: EnvironmentId) -> bool {
        let is_going = |known: &Known| known.state == EnvironmentState::Destroying;
        self.fate(environment) == Fate::Owned && !self.environments.get(&environment).is_some_and(is_going)
    }

    /// Of what can be made again: a container, a network. None: somebody owns it.
    pub fn orphan(&self, labels: Labels) -> Option<&'static str> {
        match labels {
            Labels { environment: Some(id), .. } => match self.fate(id) {
                Fate::Owned => None,
                Fate::Remove(why) | Fate::Quarantine(why) => Some(why),
            },
            Labels { environment: None, run: Some(run) } if self.active.contains(&run) => None,
            Labels { environment: None, run: Some(_) } => Some("its run is not under way"),
            Labels { environment: None, run: None } => Some("it says neither its run nor its environment"),
        }
    }

    pub fn is_active(&self, run: RunId) -> bool {
        self.active.contains(&run)
    }

    /// Production's data only a person removes, and what does not say its stage may be production's.
    pub fn is_production(&self, environment: EnvironmentId, said: Option<Stage>) -> bool {
        let known = self.environments.get(&environment).map(|known| known.stage);
        known.or(said).is_none_or(|stage| stage == Stage::Production)
    }

    fn is_of_before(&self, known: &Known) -> bool {
        self.confirmed_at.is_some_and(|confirmed| known.created_at <= confirmed)
    }
}

async fn known(conn: &mut PgConnection, ids: &[Uuid]) -> Result<HashMap<EnvironmentId, Known>, crate::Error> {
    let rows = sqlx::query!(
        r#"select id, state as "state: EnvironmentState", stage as "stage: Stage", host_id, created_at
           from ops.environments where id = any ($1)"#,
        ids
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows
        .map(|row| {
            let host = row.host_id.map(Into::into);
            (row.id.into(), Known { state: row.state, stage: row.stage, host, created_at: row.created_at })
        })
        .collect())
}

/// In each environment's directory: the same that labels say of a container, and the stage.
const MARK: &str = "owner";

/// Written when the directory is made, before anything of worth is in it.
pub async fn mark(folder: &Path, labels: Labels, stage: Stage) -> std::io::Result<()> {
    let run = labels.run.map(|run| run.to_string()).unwrap_or_default();
    let environment = labels.environment.map(|id| id.to_string()).unwrap_or_default();
    tokio::fs::write(folder.join(MARK), format!("{environment} {run} {stage}\n")).await
}

/// The stage that a directory says it belongs to.
pub async fn marked_stage(folder: &Path) -> Option<Stage> {
    tokio::fs::read_to_string(folder.join(MARK)).await.ok()?.split_whitespace().nth(2)?.parse().ok()
}
