use crate::{id::HostId, run::text_enum};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

text_enum! {
    /// What may be expected of a host or worker.
    HostState {
        /// Its worker was heard of lately and takes runs.
        Alive = "alive",
        /// Nothing was heard of it for longer than a lease lasts.
        Silent = "silent",
        /// It finishes what it holds and takes nothing more.
        Draining = "draining",
        /// It may not come back.
        Revoked = "revoked",
    }
}

/// A process that takes runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct WorkerView {
    pub id: String,
    pub host_id: Option<HostId>,
    pub host: Option<String>,
    pub state: HostState,
    pub version: String,
    /// Runs at a time.
    pub capacity: i32,
    /// Runs that it holds now.
    pub running: i64,
    /// What it takes.
    pub kinds: Vec<String>,
    pub started_at: DateTime<Utc>,
    pub last_heartbeat_at: DateTime<Utc>,
    /// Somebody asked it to.
    pub draining_since: Option<DateTime<Utc>>,
    /// Its process was told to end.
    pub stopping_since: Option<DateTime<Utc>>,
    /// It is silent and holds nothing.
    pub forgettable: bool,
    pub cpus: Option<i32>,
    pub memory_total_bytes: Option<i64>,
    pub memory_free_bytes: Option<i64>,
    pub disk_total_bytes: Option<i64>,
    pub disk_free_bytes: Option<i64>,
}

/// A machine, with the workers that speak for it: one, while nothing is being replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct HostView {
    pub id: HostId,
    pub name: String,
    pub state: HostState,
    /// What runs may require.
    pub labels: Vec<String>,
    /// No run is admitted when less would stay free.
    pub min_free_memory_bytes: i64,
    pub min_free_disk_bytes: i64,
    pub created_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// Nothing for the machine of the console itself.
    pub joined_at: Option<DateTime<Utc>>,
    /// Environments that run there.
    pub environments: i64,
    /// Those of them that are production.
    pub production_environments: i64,
    /// It has no worker and holds nothing. A host that has one goes with it.
    pub forgettable: bool,
    pub workers: Vec<WorkerView>,
}

impl HostView {
    /// The worker that was heard of last.
    pub fn worker(&self) -> Option<&WorkerView> {
        self.workers.iter().max_by_key(|worker| worker.last_heartbeat_at)
    }
}

/// What another machine is told to join. Shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Invitation {
    pub token: String,
    pub expires_at: DateTime<Utc>,
    /// Where it joins.
    pub url: String,
    /// SHA-256 of the certificate of this installation's authority, by which it knows that it is talking to us.
    pub ca_fingerprint: String,
}

impl Invitation {
    /// What to run there.
    pub fn command(&self) -> String {
        let Self { url, token, ca_fingerprint, .. } = self;
        format!("ops worker join {url} --token {token} --ca-fingerprint {ca_fingerprint}")
    }
}

/// A host is what the best of its workers is.
pub fn state_of(revoked: bool, workers: &[WorkerView]) -> HostState {
    let has = |state| workers.iter().any(|worker| worker.state == state);
    match () {
        () if revoked => HostState::Revoked,
        () if has(HostState::Alive) => HostState::Alive,
        () if has(HostState::Draining) => HostState::Draining,
        () => HostState::Silent,
    }
}
