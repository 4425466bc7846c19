//! Retention: how long logs, metrics, events and the audit log are kept, and the job that lets go of what is older.
//! It drops whole days, and is the only one that can: the tables refuse to change or delete what they hold.

mod job;

#[cfg(test)]
mod tests;

pub use job::{Outcome, Patience, RetentionError, run};

use crate::config::Config;
use sqlx::PgConnection;

/// Writes what is configured to where the database's functions see it. As the owner: workers, who call those
/// functions, must not decide how much of the audit log there is.
pub async fn store_settings(owner: &mut PgConnection, config: &Config) -> Result<(), sqlx::Error> {
    let families = [
        ("logs", config.log_retention_days),
        ("metrics", config.metric_retention_days),
        ("events", config.event_retention_days),
        ("audit", config.audit_retention_days),
    ];
    for (family, days) in families {
        sqlx::query!(
            "update ops.retention_settings set days = $2, updated_at = now() where family = $1 and days <> $2",
            family,
            days
        )
        .execute(&mut *owner)
        .await?;
    }
    Ok(())
}
