use crate::{
    branch::{BranchName, Stage},
    host::{HostState, HostView},
    id::{HostId, RunId},
    project::Slug,
    run::{RunKind, RunStatus, Step},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Why a queued run is not under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Wait {
    /// It is not to begin earlier.
    Time { at: DateTime<Utc> },
    /// Another run of the same branch or database, which goes first: one at a time.
    Run { id: RunId, key: String },
    /// As many of its kind are under way as may be.
    Kind { max: i32 },
    /// No worker takes its kind, or none was heard of lately.
    Worker,
    /// It belongs to this host, which does not take runs now.
    Host { name: String, state: HostState },
    /// No host that takes runs has all of these labels.
    Labels { labels: Vec<String> },
    /// The workers that would take it finish what they hold.
    Draining,
    /// Where it could run, less memory is free than the host keeps back.
    Memory,
    /// Where it could run, less disk is free than the host keeps back.
    Disk,
    /// All places are taken.
    Slot,
    /// It is next.
    Turn,
}

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Queued {
    pub id: RunId,
    pub project: Slug,
    pub project_name: String,
    pub branch: Option<BranchName>,
    pub stage: Option<Stage>,
    pub git_ref: String,
    pub commit_sha: String,
    pub kind: RunKind,
    pub status: RunStatus,
    pub step: Option<Step>,
    /// Higher goes first.
    pub priority: i32,
    pub attempt: i32,
    pub queued_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub worker_id: Option<String>,
    /// The host that it is on, or has to be on.
    pub host: Option<String>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Nothing once it is under way.
    pub waits: Vec<Wait>,
}

/// How many runs of a kind may be under way at once, on all hosts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct KindLimit {
    pub kind: RunKind,
    /// 0: none begins.
    pub max_running: i32,
}

/// The queue at one moment: how much there is, and as much of it as one look shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Backlog {
    /// How many are claimed or running, shown or not.
    pub under_way: i64,
    /// How many are queued, shown or not.
    pub waiting: i64,
    /// Kinds of which only so many may be under way at once.
    #[serde(default)]
    pub limits: Vec<KindLimit>,
    /// The first 500: what is under way, then what waits, in the order in which it is taken.
    pub runs: Vec<Queued>,
}

impl Backlog {
    /// How many there are in all, when not all of them are shown.
    pub fn cut_off(&self) -> Option<i64> {
        let all = self.under_way + self.waiting;
        (i64::try_from(self.runs.len()).unwrap_or(i64::MAX) < all).then_some(all)
    }
}

/// What of a queued run decides where and when it goes.
#[derive(Debug, Clone)]
pub struct Needs {
    pub kind: RunKind,
    pub run_after: DateTime<Utc>,
    /// Who holds its serial key, or is before it in line for it.
    pub held_by: Option<(RunId, String)>,
    pub host_id: Option<HostId>,
    pub labels: Vec<String>,
    /// The limit of its kind, when it is reached.
    pub kind_max: Option<i32>,
}

/// All that stands in a run's way, as the rules of `ops.claim_next_run` have it: first what concerns the run itself,
/// then the one reason why no worker takes it.
pub fn waits(needs: &Needs, hosts: &[HostView], now: DateTime<Utc>) -> Vec<Wait> {
    let mut waits = Vec::new();
    if needs.run_after > now {
        waits.push(Wait::Time { at: needs.run_after });
    }
    if let Some((id, key)) = needs.held_by.clone() {
        waits.push(Wait::Run { id, key });
    }
    if let Some(max) = needs.kind_max {
        waits.push(Wait::Kind { max });
    }
    waits.extend(place(needs, hosts));
    if waits.is_empty() {
        waits.push(Wait::Turn);
    }
    waits
}

/// Each question narrows the hosts down; the first that leaves none is the reason.
fn place(needs: &Needs, hosts: &[HostView]) -> Option<Wait> {
    let bound = |host: &&HostView| needs.host_id.is_none_or(|id| host.id == id);
    let able = |host: &&HostView| {
        host.workers.iter().any(|worker| worker.kinds.iter().any(|kind| kind == needs.kind.as_str()))
    };
    let labelled = |host: &&HostView| needs.labels.iter().all(|label| host.labels.contains(label));
    let heard = |host: &&HostView| matches!(host.state, HostState::Alive | HostState::Draining);
    let candidates: Vec<_> = hosts.iter().filter(bound).collect();
    if let (Some(_), Some(host)) = (needs.host_id, candidates.first())
        && host.state != HostState::Alive
    {
        return Some(Wait::Host { name: host.name.clone(), state: host.state });
    }
    let candidates: Vec<_> = candidates.into_iter().filter(heard).filter(able).collect();
    if candidates.is_empty() {
        return Some(Wait::Worker);
    }
    let candidates: Vec<_> = candidates.into_iter().filter(labelled).collect();
    if candidates.is_empty() {
        return Some(Wait::Labels { labels: needs.labels.clone() });
    }
    let candidates: Vec<_> = candidates.into_iter().filter(|host| host.state == HostState::Alive).collect();
    if candidates.is_empty() {
        return Some(Wait::Draining);
    }
    let short = |free: Option<i64>, kept: i64| free.is_some_and(|free| free < kept);
    let memory = |host: &&HostView| {
        !short(host.worker().and_then(|worker| worker.memory_free_bytes), host.min_free_memory_bytes)
    };
    let disk = |host: &&HostView| {
        !short(host.worker().and_then(|worker| worker.disk_free_bytes), host.min_free_disk_bytes)
    };
    let candidates: Vec<_> = candidates.into_iter().filter(memory).collect();
    if candidates.is_empty() {
        return Some(Wait::Memory);
    }
    let mut candidates = candidates.into_iter().filter(disk).peekable();
    if candidates.peek().is_none() {
        return Some(Wait::Disk);
    }
    let free = |host: &HostView| {
        host.workers
            .iter()
            .any(|worker| worker.state == HostState::Alive && worker.running < i64::from(worker.capacity))
    };
    (!candidates.any(free)).then_some(Wait::Slot)
}
