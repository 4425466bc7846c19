//! The one error that users see. It holds a stable code and parameters; the words are in the console crate,
//! the cause is logged where it happened and never leaves the process.

use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use uuid::Uuid;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A stable code (`branch.second_production`) and what the sentence needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    pub code: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
}

impl Detail {
    pub const fn new(code: &'static str) -> Self {
        Self { code: Cow::Borrowed(code), params: BTreeMap::new() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.params.insert(name.to_owned(), value.to_string());
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    #[error("unauthenticated")]
    Unauthenticated,
    #[error("forbidden: {}", .detail.code)]
    Forbidden { detail: Detail },
    #[error("not found: {}", .detail.code)]
    NotFound { detail: Detail },
    #[error("conflict: {}", .detail.code)]
    Conflict { detail: Detail },
    #[error("invalid {field}: {}", .detail.code)]
    Invalid { field: String, detail: Detail },
    #[error("unavailable: {}", .detail.code)]
    Unavailable { detail: Detail },
    #[error("internal error, incident {incident}")]
    Internal { incident: Uuid },
}

impl Error {
    pub fn forbidden(code: &'static str) -> Self {
        Self::Forbidden { detail: Detail::new(code) }
    }

    pub fn not_found(code: &'static str) -> Self {
        Self::NotFound { detail: Detail::new(code) }
    }

    pub fn conflict(detail: Detail) -> Self {
        Self::Conflict { detail }
    }

    pub fn invalid(field: &str, detail: Detail) -> Self {
        Self::Invalid { field: field.to_owned(), detail }
    }

    pub fn unavailable(code: &'static str) -> Self {
        Self::Unavailable { detail: Detail::new(code) }
    }

    /// Logs the cause under a new incident id, which is all that the user gets to see of it.
    #[cfg(feature = "native")]
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let incident = Uuid::now_v7();
        tracing::error!(%incident, cause = %cause, "internal error");
        Self::Internal { incident }
    }

    /// The HTTP status that says the same.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthenticated => 401,
            Self::Forbidden { .. } => 403,
            Self::NotFound { .. } => 404,
            Self::Conflict { .. } => 409,
            Self::Invalid { .. } => 422,
            Self::Unavailable { .. } => 503,
            Self::Internal { .. } => 500,
        }
    }

    pub fn detail(&self) -> Option<&Detail> {
        match self {
            Self::Forbidden { detail }
            | Self::NotFound { detail }
            | Self::Conflict { detail }
            | Self::Invalid { detail, .. }
            | Self::Unavailable { detail } => Some(detail),
            Self::Unauthenticated | Self::Internal { .. } => None,
        }
    }
}

#[cfg(feature = "native")]
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::not_found("not_found"),
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
                tracing::warn!(cause = %error, "the ops database does not answer");
                Self::unavailable("database")
            }
            _ => Self::internal(error),
        }
    }
}

/// By which functions of the schema say what was wrong.
#[cfg(feature = "native")]
pub fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(Cow::into_owned)
}
