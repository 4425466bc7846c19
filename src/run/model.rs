use crate::{
    branch::{BranchName, Stage},
    environment::EnvironmentSummary,
    id::{EnvironmentId, ProjectId, RunId},
    project::Slug,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "native", derive(sqlx::Type))]
        #[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "native", sqlx(type_name = "text"))]
        pub enum $name { $(
            $(#[$vdoc])*
            #[serde(rename = $text)]
            #[cfg_attr(feature = "native", sqlx(rename = $text))]
            $variant,
        )* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    crate::Error::invalid(
                        stringify!($name),
                        crate::Detail::new("enum.unknown").with("value", text),
                    )
                })
            }
        }
    };
}

pub(crate) use text_enum;

text_enum! {
    RunKind {
        Build = "build", Test = "test", Deploy = "deploy", Backup = "backup", Restore = "restore",
        Clone = "clone", Upgrade = "upgrade", Move = "move", Maintenance = "maintenance",
    }
}

text_enum! {
    RunStatus {
        Queued = "queued",
        Claimed = "claimed",
        Running = "running",
        Succeeded = "succeeded",
        /// Done, connectable, with warnings in the log.
        Warning = "warning",
        Failed = "failed",
        TimedOut = "timed_out",
        Canceled = "canceled",
        Superseded = "superseded",
    }
}

impl RunStatus {
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Claimed | Self::Running)
    }

    pub fn verdict(self) -> Verdict {
        match self {
            Self::Queued => Verdict::Queued,
            Self::Claimed | Self::Running => Verdict::Running,
            Self::Succeeded => Verdict::Green,
            Self::Warning => Verdict::Yellow,
            Self::Failed | Self::TimedOut => Verdict::Red,
            Self::Canceled | Self::Superseded => Verdict::Canceled,
        }
    }
}

/// What a person sees of a status: colour and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Green,
    Yellow,
    Red,
    Running,
    Queued,
    Canceled,
}

text_enum! {
    /// The steps of a build, in order.
    Step {
        Sources = "sources",
        Image = "image",
        Database = "database",
        /// Modules are installed and, in development, tested.
        Install = "install",
        Start = "start",
        /// Health, then the login page.
        Gate = "gate",
        /// The hostname is published.
        Route = "route",
    }
}

text_enum! {
    LogLevel { Debug = "debug", Info = "info", Warn = "warn", Error = "error" }
}

text_enum! {
    StepState { Running = "running", Succeeded = "succeeded", Failed = "failed" }
}

/// One step of a run as the waterfall shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct StepLine {
    pub step: Step,
    pub state: StepState,
    pub started_at: DateTime<Utc>,
    pub duration_ms: Option<i64>,
    /// One sentence for people: the image used, the modules installed.
    pub note: Option<String>,
}

/// A run as the build page, the API and the CLI show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct RunView {
    pub id: RunId,
    pub project_id: ProjectId,
    pub project_slug: Slug,
    pub project_name: String,
    pub branch: Option<BranchName>,
    pub stage: Option<Stage>,
    pub environment_id: Option<EnvironmentId>,
    pub environment: Option<EnvironmentSummary>,
    pub kind: RunKind,
    pub status: RunStatus,
    pub git_ref: String,
    pub commit_sha: String,
    pub commit_subject: Option<String>,
    pub commit_author: Option<String>,
    pub attempt: i32,
    pub worker_id: Option<String>,
    pub queued_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub exit_code: Option<i32>,
    pub error_message: Option<String>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub superseded_by: Option<RunId>,
    pub steps: Vec<StepLine>,
    /// Sequence of the last log line.
    pub last_log_seq: i64,
}

/// A row in a list of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct RunSummary {
    pub id: RunId,
    pub kind: RunKind,
    pub status: RunStatus,
    pub branch: Option<BranchName>,
    pub git_ref: String,
    pub commit_sha: String,
    pub commit_subject: Option<String>,
    pub step: Option<Step>,
    pub queued_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub error_message: Option<String>,
}

text_enum! {
    /// How one try of a run ended.
    Outcome {
        /// Its worker was lost.
        Requeued = "requeued",
        /// A step failed in a way that another try may cure.
        Retried = "retried",
        /// Its worker ended in order and let go of it.
        HandedBack = "handed_back",
        Succeeded = "succeeded",
        Warning = "warning",
        Failed = "failed",
        TimedOut = "timed_out",
        Canceled = "canceled",
        Superseded = "superseded",
    }
}

/// One try of a run, by one worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// 1, 2, 3 ... Tries that were handed back are not counted, so numbers come again.
    pub attempt: i32,
    pub worker_id: String,
    pub claimed_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Nothing while it goes on.
    pub outcome: Option<Outcome>,
    pub reason: Option<String>,
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Event {
    pub id: i64,
    pub r#type: String,
    pub payload: serde_json::Value,
    pub created_at: DateTime<Utc>,
}
