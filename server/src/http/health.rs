//! For supervisors and balancers: is the process alive, and can it serve.

use super::Web;
use axum::{extract::State, http::StatusCode};
use std::time::Duration;

/// The process answers; nothing else is asked, so that a slow database restarts nobody.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The database answers, and its schema is this program's.
pub async fn readyz(State(web): State<Web>) -> (StatusCode, &'static str) {
    let check = odooops::postgres::ops::is_current(&web.pool);
    match tokio::time::timeout(Duration::from_secs(2), check).await {
        Ok(Ok(true)) => (StatusCode::OK, "ready\n"),
        Ok(Ok(false)) => (StatusCode::SERVICE_UNAVAILABLE, "migrations are missing\n"),
        Ok(Err(error)) => {
            tracing::warn!(cause = %error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
