use crate::id::{EnvironmentId, HostId, QuarantineId, ReconcilerRequestId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "native", derive(sqlx::Type))]
#[cfg_attr(feature = "native", sqlx(type_name = "text", rename_all = "lowercase"))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Act,
    /// It says what it would do, and does nothing.
    Report,
}

/// One object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Finding {
    pub object: String,
    /// What is done about it: `remove`, `quarantine`, `start` ...
    pub what: String,
    pub why: String,
    pub done: bool,
}

/// What a reconciler found when it looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Report {
    pub name: String,
    pub started_at: DateTime<Utc>,
    /// How many objects it compared.
    pub looked_at: i32,
    pub acted: i32,
    /// What it would have done, had it not only reported.
    pub would: i32,
    pub mode: Mode,
    /// Why it only reports.
    pub reason: Option<String>,
    pub error: Option<String>,
    /// The first of them; the numbers count all.
    pub findings: Vec<Finding>,
}

/// A host's latest report of one reconciler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct HostReport {
    pub host_id: HostId,
    pub host: String,
    pub finished_at: DateTime<Utc>,
    pub report: Report,
}

/// How the epoch in a host's data directory stands to the one in the ops database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "native", derive(sqlx::Type))]
#[cfg_attr(feature = "native", sqlx(type_name = "text", rename_all = "lowercase"))]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Agrees,
    /// The ops database was restored from before the data directory's last change.
    Behind,
    /// The data directory has no epoch.
    Unknown,
    /// The data directory belongs to another installation.
    Foreign,
}

impl Standing {
    /// Whether an administrator's word lets the host act again.
    pub fn can_be_confirmed(self) -> bool {
        matches!(self, Self::Behind | Self::Unknown)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct HostEpoch {
    pub host_id: HostId,
    pub host: String,
    pub epoch: i64,
    /// The data directory's, as far as the host told it.
    pub file_epoch: Option<i64>,
    pub standing: Standing,
    pub confirmed_at: Option<DateTime<Utc>>,
}

/// What a host would do, asked for by somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct DryRun {
    pub id: ReconcilerRequestId,
    pub host_id: HostId,
    pub host: String,
    pub requested_at: DateTime<Utc>,
    /// None: the host has not answered yet.
    pub answered_at: Option<DateTime<Utc>>,
    pub reports: Vec<Report>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "native", derive(sqlx::Type))]
#[cfg_attr(feature = "native", sqlx(type_name = "text", rename_all = "lowercase"))]
#[serde(rename_all = "lowercase")]
pub enum QuarantineKind {
    Database,
    Directory,
    Volume,
}

impl QuarantineKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Directory => "directory",
            Self::Volume => "volume",
        }
    }
}

/// Data without an owner, out of the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Quarantined {
    pub id: QuarantineId,
    pub host_id: HostId,
    pub host: String,
    pub kind: QuarantineKind,
    pub name: String,
    /// What it was called before, and must be repeated to delete it.
    pub original_name: String,
    pub environment_id: Option<EnvironmentId>,
    pub production: bool,
    pub reason: String,
    pub size_bytes: Option<i64>,
    pub quarantined_at: DateTime<Utc>,
    /// None: only a person deletes it.
    pub delete_after: Option<DateTime<Utc>>,
    pub delete_requested_at: Option<DateTime<Utc>>,
    pub restore_requested_at: Option<DateTime<Utc>>,
    pub error: Option<String>,
    pub deleted_at: Option<DateTime<Utc>>,
    pub restored_at: Option<DateTime<Utc>>,
}
