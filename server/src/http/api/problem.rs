use super::super::words;
use axum::{
    Json,
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use odooops::{Detail, Error};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

/// An error on its way out.
#[derive(Debug)]
pub struct Problem(pub Error);

/// What went wrong.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Stable; programs decide by it.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// What the sentence speaks of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The field of the request that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Under this id the server's log has the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Uuid>,
}

impl From<&Error> for ProblemBody {
    fn from(error: &Error) -> Self {
        let (code, params) = match (error, error.detail()) {
            (_, Some(detail)) => (detail.code.to_string(), detail.params.clone()),
            (Error::Unauthenticated, None) => ("unauthenticated".to_owned(), BTreeMap::new()),
            (_, None) => ("internal".to_owned(), BTreeMap::new()),
        };
        let field = if let Error::Invalid { field, .. } = error { Some(field.clone()) } else { None };
        let incident = if let Error::Internal { incident } = error { Some(*incident) } else { None };
        Self { code, message: words::of(error), params, field, incident }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(ProblemBody::from(&self.0))).into_response()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

fn unreadable(field: &str, code: &'static str, cause: &dyn std::fmt::Display) -> Problem {
    // The parser's words name what was expected where; the body itself is the sender's own.
    let cause: String = cause.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
    Problem(Error::invalid(field, Detail::new(code).with("cause", cause)))
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        unreadable("body", "request.body", &rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        unreadable("path", "request.path", &rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        unreadable("query", "request.query", &rejection.body_text())
    }
}
