//! What workers do with a run.
//!
//! A worker may die at any instruction. So every step can be repeated: names are derived from ids, creating what is
//! there and removing what is gone succeed, and what a dead attempt left behind carries labels by which
//! [`crate::reconcile`] finds it. Nothing is written to the run but through its lease.

mod build;
pub(crate) mod collect;
mod database;
mod gate;
pub(crate) mod image;
mod install;
pub(crate) mod progress;
pub(crate) mod remove;
mod route;
pub(crate) mod sources;
pub(crate) mod start;
pub(crate) mod template;
mod worker;

#[cfg(test)]
mod odoo_tests;

pub use database::admin_password;
pub use worker::{Stop, work};

use crate::{
    config::Config,
    docker::Docker,
    docker::DockerError,
    git::GitError,
    git::Repositories,
    postgres::{PostgresError, Tenants},
    queue,
    urls::Urls,
};
use sqlx::PgPool;
use std::sync::Arc;
use tokio::sync::Notify;
use uuid::Uuid;

/// Everything that the steps work with.
#[derive(Clone)]
pub struct Workshop {
    pub pool: PgPool,
    pub docker: Docker,
    pub tenants: Tenants,
    pub repositories: Repositories,
    pub config: Arc<Config>,
    pub urls: Urls,
    /// The worker's name in `ops.workers`.
    pub name: String,
    /// Wakes the reconciler: there is something to remove or to collect.
    pub changed: Arc<Notify>,
}

/// How an attempt ends when it does not end well.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Not the commit's fault: another attempt may succeed. The cause is in the worker's log under the incident; it
    /// may name what is not for everybody's eyes.
    #[error("{}", retry_reason(reason, incident))]
    Retry {
        incident: Uuid,
        /// Where it can be told to everybody.
        reason: Option<&'static str>,
    },
    /// The same commit would fail again.
    #[error("{message}")]
    Fail { message: String, exit_code: Option<i32> },
    #[error("canceled")]
    Canceled,
    /// The lease is gone: somebody else decides.
    #[error("the lease of the run is lost")]
    Lost,
}

impl JobError {
    pub fn fail(message: impl Into<String>) -> Self {
        Self::Fail { message: message.into(), exit_code: None }
    }

    pub fn retry(cause: impl std::fmt::Display) -> Self {
        let incident = Uuid::now_v7();
        tracing::warn!(%incident, %cause, "an attempt fails");
        Self::Retry { incident, reason: None }
    }

    /// The daemon went away while something ran in its hands.
    pub fn docker_restarted(cause: impl std::fmt::Display) -> Self {
        let incident = Uuid::now_v7();
        tracing::warn!(%incident, %cause, "an attempt fails: docker restarted");
        Self::Retry { incident, reason: Some(DOCKER_RESTARTED) }
    }
}

const DOCKER_RESTARTED: &str = "docker restarted";

fn retry_reason(reason: &Option<&'static str>, incident: &Uuid) -> String {
    match reason {
        Some(reason) => (*reason).to_owned(),
        None => format!("The platform failed here (incident {incident})."),
    }
}

impl From<queue::Error> for JobError {
    fn from(error: queue::Error) -> Self {
        match error {
            queue::Error::LeaseLost => Self::Lost,
            queue::Error::OutputLimit => Self::fail("The build printed more than it may (output limit)."),
            queue::Error::Database(cause) => Self::retry(cause),
        }
    }
}

impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        queue::Error::from(error).into()
    }
}

impl From<crate::Error> for JobError {
    fn from(error: crate::Error) -> Self {
        Self::retry(error)
    }
}

impl From<DockerError> for JobError {
    fn from(error: DockerError) -> Self {
        match error {
            DockerError::Unavailable(cause) => Self::docker_restarted(cause),
            other => Self::retry(other),
        }
    }
}

impl From<PostgresError> for JobError {
    fn from(error: PostgresError) -> Self {
        Self::retry(error)
    }
}

impl From<GitError> for JobError {
    fn from(error: GitError) -> Self {
        match error {
            // What the commit itself holds.
            GitError::SymlinkOutside { .. }
            | GitError::TooLarge { .. }
            | GitError::SubmoduleRefused { .. }
            | GitError::CommitUnknown { .. } => Self::fail(error.to_string()),
            // Where it is fetched from may be away for a moment, or slow.
            GitError::Submodule { ref source, .. }
                if !matches!(**source, GitError::TimedOut { .. } | GitError::HostUnknown { .. }) =>
            {
                Self::fail(error.to_string())
            }
            other => Self::retry(other),
        }
    }
}
