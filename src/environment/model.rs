use crate::{
    branch::{BranchName, CommitSha, Stage},
    id::{EnvironmentId, ProjectId, RunId},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "native", derive(sqlx::Type))]
#[cfg_attr(feature = "native", sqlx(type_name = "text", rename_all = "lowercase"))]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentState {
    /// Its build is under way.
    Building,
    Running,
    /// There, but not serving.
    Stopped,
    /// Being removed; the reconciler finishes it.
    Destroying,
    Destroyed,
    Failed,
}

/// An environment as lists and the API show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct EnvironmentSummary {
    pub id: EnvironmentId,
    pub project_id: ProjectId,
    pub branch: Option<BranchName>,
    pub stage: Stage,
    pub state: EnvironmentState,
    pub commit_sha: CommitSha,
    pub run_id: RunId,
    pub hostname: String,
    pub url: String,
    pub created_at: DateTime<Utc>,
}
