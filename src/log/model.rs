use crate::run::LogLevel;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A line above this many bytes is stored as parts, each with its own sequence.
pub const MAX_LINE: usize = 1024 * 1024;

/// One line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// Position within the run: 1, 2, 3 ... without gaps.
    pub seq: i64,
    /// install, odoo, pip, git, system ...
    pub stream: String,
    pub level: LogLevel,
    pub message: String,
    pub created_at: DateTime<Utc>,
    /// More of the same line follows in the next sequence.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
}
