use crate::{
    branch::BranchName,
    id::{ProjectId, RunId, ScheduleId},
    project::Slug,
    run::{RunKind, RunStatus, text_enum},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

text_enum! {
    /// What the platform's own schedules do.
    MaintenanceTask {
        /// Drops what is older than it is kept.
        Retention = "retention",
        /// Asks every host to compare what is wanted with what is there, now.
        Reconcile = "reconcile",
    }
}

text_enum! {
    /// What came of a schedule that was due.
    ScheduleRunState {
        /// A run was queued: its status says the rest.
        Queued = "queued",
        /// Nothing was queued, and the error says why.
        Skipped = "skipped",
        /// The platform's own work, before the leader takes it.
        Waiting = "waiting",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
    }
}

/// What a schedule does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Builds the newest commit of a branch that is not production.
    Build { branch: BranchName },
    /// Work on the platform itself.
    Maintenance { task: MaintenanceTask },
}

/// What makes a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct NewSchedule {
    /// None: the platform's own.
    pub project: Option<Slug>,
    pub name: String,
    /// Minute, hour, day of month, month, day of week.
    pub cron: String,
    /// An IANA name such as `Europe/Brussels`; UTC when there is none.
    pub time_zone: Option<String>,
    pub work: Work,
}

/// What is to be different. What is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct ScheduleChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// How a pattern reads, before it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct SchedulePreview {
    pub reading: String,
    /// The next times, as clocks of the zone show them.
    pub next: Vec<String>,
}

/// A schedule as the console, the API and the CLI show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct ScheduleView {
    pub id: ScheduleId,
    /// None: the platform's own.
    pub project_id: Option<ProjectId>,
    pub project_slug: Option<Slug>,
    pub project_name: Option<String>,
    pub name: String,
    pub cron: String,
    pub time_zone: String,
    pub kind: RunKind,
    /// What a build is made of; None when the branch is gone.
    pub branch: Option<BranchName>,
    pub task: Option<MaintenanceTask>,
    pub enabled: bool,
    /// Came with the platform: may be stopped, not deleted.
    pub built_in: bool,
    pub next_due_at: Option<DateTime<Utc>>,
    /// The same as clocks of its zone show it.
    pub next_due_local: Option<String>,
    /// The pattern in words; None when it does not read.
    pub reading: Option<String>,
    /// Why it is never due.
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub last: Option<ScheduleRun>,
}

/// One time that a schedule was due or was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct ScheduleRun {
    pub due_at: DateTime<Utc>,
    /// How many times it had been due since, all made up for by this one.
    pub missed: i32,
    pub state: ScheduleRunState,
    pub run_id: Option<RunId>,
    pub run_status: Option<RunStatus>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// What the platform's own work did.
    #[cfg_attr(feature = "native", schema(value_type = Object))]
    pub result: serde_json::Value,
    pub error: Option<String>,
}
