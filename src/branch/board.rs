//! What the branches board shows.

use super::{BranchName, CommitSha, OnPush, Stage};
use crate::{
    environment::EnvironmentState,
    id::{BranchId, EnvironmentId, ProjectId, RunId},
    project::Slug,
    run::{RunKind, RunStatus, Step},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A commit in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct CommitLine {
    pub sha: CommitSha,
    pub subject: String,
    pub author: String,
    pub authored_at: DateTime<Utc>,
}

/// A build as a dot on a card, or a row in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct RunDot {
    pub id: RunId,
    pub kind: RunKind,
    pub status: RunStatus,
    pub commit_sha: CommitSha,
    /// The step being worked on, while running.
    pub step: Option<Step>,
    pub queued_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The environment that Connect opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct CardEnvironment {
    pub id: EnvironmentId,
    pub state: EnvironmentState,
    pub url: String,
    pub run_id: RunId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct BranchCard {
    pub id: BranchId,
    pub name: BranchName,
    pub stage: Stage,
    pub on_push: OnPush,
    pub head: Option<CommitLine>,
    /// Newest first, at most eight.
    pub runs: Vec<RunDot>,
    pub environment: Option<CardEnvironment>,
}

/// The board of one project, whole: small enough to send again after every change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Board {
    pub project_id: ProjectId,
    pub slug: Slug,
    pub name: String,
    pub clone_url: String,
    /// Where the project is fetched from, and its developers push to; None when its own repository is the source.
    pub remote_url: Option<String>,
    /// Why the last fetch from there failed; None when it did not.
    pub fetch_error: Option<String>,
    pub branches: Vec<BranchCard>,
}
