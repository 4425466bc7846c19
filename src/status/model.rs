use crate::{
    host::HostState,
    id::RunId,
    project::Slug,
    reconcile::{HostEpoch, HostReport, Standing},
    run::{RunKind, RunStatus},
    schedule::{ScheduleRun, ScheduleRunState},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Everything at one moment, by PostgreSQL's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Status {
    pub checked_at: DateTime<Utc>,
    pub postgres: PostgresStatus,
    pub migrations: MigrationStatus,
    pub workers: Vec<WorkerStatus>,
    pub queue: QueueStatus,
    /// What each host's reconcilers found when they last looked.
    pub reconcilers: Vec<HostReport>,
    /// Whether the hosts act or only report, because the ops database was restored.
    pub epochs: Vec<HostEpoch>,
    /// Data without an owner that waits for its end.
    pub quarantined: i64,
    pub partitions: Vec<PartitionStatus>,
    /// What dropping what is old came to when it was last due.
    pub retention: Option<ScheduleRun>,
    /// What somebody should see to; empty when all is well.
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct PostgresStatus {
    /// Such as 15.14.
    pub version: String,
    pub size_bytes: i64,
    pub connections: i32,
    pub max_connections: i32,
    pub started_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct MigrationStatus {
    /// The newest that the database has.
    pub applied: i64,
    /// The newest that this program brings.
    pub known: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct WorkerStatus {
    pub id: String,
    pub host: Option<String>,
    pub state: HostState,
    pub running: i64,
    pub capacity: i32,
    pub last_heartbeat_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct QueueStatus {
    /// Those that may begin by their time.
    pub waiting: i64,
    /// Those that are not to begin yet.
    pub later: i64,
    pub running: i64,
    /// Since when the longest waiting one could have begun.
    pub oldest_waiting_since: Option<DateTime<Utc>>,
    pub stuck: Vec<StuckRun>,
}

/// A run that should have moved on long ago.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct StuckRun {
    pub id: RunId,
    pub project: Slug,
    pub kind: RunKind,
    pub status: RunStatus,
    pub worker_id: Option<String>,
    pub why: Stuck,
    pub since: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stuck {
    /// Its lease is over, and nobody took it back.
    LeaseOver,
    /// Its end was asked for, and it goes on.
    NotCanceled,
}

/// A table that grows by time, and the parts that it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct PartitionStatus {
    pub table: String,
    pub partitions: i64,
    pub size_bytes: i64,
    /// Rows that fell beside all parts, as far as the statistics know.
    pub rows_in_default: i64,
}

/// Something to see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Problem {
    MigrationsMissing {
        applied: i64,
        known: i64,
    },
    /// Fewer than one in ten is free.
    ConnectionsScarce {
        used: i32,
        max: i32,
    },
    NoWorker,
    WorkerSilent {
        worker: String,
    },
    RunsStuck {
        count: usize,
    },
    /// It only reports, and an administrator is to say whether it may act again.
    HostOnlyReports {
        host: String,
        standing: Standing,
    },
    ReconcilerFails {
        host: String,
        reconciler: String,
        error: String,
    },
    /// A run could have begun long ago.
    QueueStands {
        since: DateTime<Utc>,
    },
    PartitionMissing {
        table: String,
    },
    RetentionFails {
        error: String,
    },
}

/// How long a run that could begin may wait before somebody should look.
const QUEUE_STANDS_AFTER: TimeDelta = TimeDelta::minutes(30);

impl Status {
    /// What is wrong, worst first.
    pub fn find_problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let MigrationStatus { applied, known } = self.migrations;
        if applied < known {
            found.push(Problem::MigrationsMissing { applied, known });
        }
        let (used, max) = (self.postgres.connections, self.postgres.max_connections);
        if used.saturating_mul(10) > max.saturating_mul(9) {
            found.push(Problem::ConnectionsScarce { used, max });
        }
        let is = |state| self.workers.iter().filter(move |worker: &&WorkerStatus| worker.state == state);
        if is(HostState::Alive).next().is_none() {
            found.push(Problem::NoWorker);
        }
        found.extend(is(HostState::Silent).map(|worker| Problem::WorkerSilent { worker: worker.id.clone() }));
        if !self.queue.stuck.is_empty() {
            found.push(Problem::RunsStuck { count: self.queue.stuck.len() });
        }
        let standing = self.epochs.iter().filter(|epoch| epoch.standing != Standing::Agrees);
        found.extend(
            standing
                .map(|epoch| Problem::HostOnlyReports { host: epoch.host.clone(), standing: epoch.standing }),
        );
        found.extend(self.reconcilers.iter().filter_map(|HostReport { host, report, .. }| {
            let (reconciler, error) = (report.name.clone(), report.error.clone()?);
            Some(Problem::ReconcilerFails { host: host.clone(), reconciler, error })
        }));
        if let Some(since) = self.queue.oldest_waiting_since
            && self.checked_at - since > QUEUE_STANDS_AFTER
        {
            found.push(Problem::QueueStands { since });
        }
        let beside = self.partitions.iter().filter(|table| table.rows_in_default > 0);
        found.extend(beside.map(|table| Problem::PartitionMissing { table: table.table.clone() }));
        if let Some(last) = &self.retention
            && last.state == ScheduleRunState::Failed
        {
            found.push(Problem::RetentionFails { error: last.error.clone().unwrap_or_default() });
        }
        found
    }
}
