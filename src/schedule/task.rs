//! The platform's own work. Its schedules' leader does it and nobody else: it is no run of any project.

use super::MaintenanceTask;
use crate::retention::{self, Patience, RetentionError};
use serde_json::{Value, json};
use sqlx::PgPool;

/// Does it; returns what it did, or why not, in a sentence for administrators.
pub async fn perform(pool: &PgPool, task: MaintenanceTask) -> Result<Value, String> {
    match task {
        MaintenanceTask::Retention => match retention::run(pool, Patience::default()).await {
            Ok(done) => Ok(json!(done)),
            Err(error @ RetentionError::Busy { .. }) => Err(error.to_string()),
            Err(RetentionError::Database(error)) => {
                tracing::warn!(%error, "retention failed");
                Err(format!("The ops database refused: {error}"))
            }
        },
        MaintenanceTask::Reconcile => {
            // Every host's reconciler listens here, and looks at once.
            sqlx::query_scalar!(r#"select pg_notify('ops_environment', '') as "done: ()""#)
                .fetch_one(pool)
                .await
                .map_err(|error| format!("The ops database refused: {error}"))?;
            Ok(json!({ "asked": "every host" }))
        }
    }
}
