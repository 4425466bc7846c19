//! Runs of kind maintenance: work on the platform itself, with its log and its end like any other run.

use super::{JobError, Workshop, progress::Progress};
use crate::{
    queue::{self, Claim},
    run::{LogLevel, RunStatus},
    schedule::{self, MaintenanceTask},
};

pub async fn maintain(shop: &Workshop, claim: &Claim) -> Result<(), JobError> {
    let name = claim.params["task"].as_str().unwrap_or_default();
    let task: MaintenanceTask =
        name.parse().map_err(|_| JobError::fail(format!("There is no maintenance task {name:?}.")))?;
    let progress = Progress { shop, claim };
    progress.log("system", LogLevel::Info, &format!("Maintenance: {task}")).await?;
    let result = schedule::perform(&shop.pool, task).await.map_err(JobError::fail)?;
    progress.event("maintained", serde_json::json!({ "task": task, "result": result })).await?;
    progress.log("system", LogLevel::Info, &format!("Done: {result}")).await?;
    let mut conn = shop.pool.acquire().await?;
    Ok(queue::finish(&mut conn, claim, RunStatus::Succeeded, Some(0), None).await?)
}
