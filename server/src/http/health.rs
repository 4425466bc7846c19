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
    let check = is_migrated(&web);
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

/// The newest migration of this program is in the database. A newer one is fine: schemas serve the release before.
async fn is_migrated(web: &Web) -> odooops::Result<bool> {
    let id = sqlx::query_scalar!("select id from ops.installation").fetch_optional(&web.pool).await?;
    Ok(id.is_some())
}
