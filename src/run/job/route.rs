//! The hostname is published, what it replaces is taken away, and the run ends: all of it or nothing. A run that was
//! published and tried again would take away what people look at already.

use super::{
    JobError,
    image::Image,
    progress::Progress,
    start::{PORT, Server},
};
use crate::{
    environment,
    environment::query::{Environment, Published},
    queue,
    run::{RunStatus, Step},
};
use serde_json::json;
use std::time::Instant;

pub async fn publish(
    progress: Progress<'_>,
    environment: &Environment,
    image: &Image,
    server: &Server,
    status: RunStatus,
) -> Result<(), JobError> {
    let (shop, claim) = (progress.shop, progress.claim);
    progress.event("step_started", json!({ "step": Step::Route })).await?;
    let begun = Instant::now();
    let mut txn = shop.pool.begin().await?;
    // Holds the run: who cancels it is heard now, or comes too late.
    if queue::hold(&mut txn, claim).await?.cancel_requested {
        return Err(JobError::Canceled);
    }
    let published = Published {
        container: &server.id,
        image: &image.name,
        address: &server.address.to_string(),
        port: PORT,
    };
    environment::query::set_running(&mut txn, environment.id, &published).await?;
    environment::query::retire_older(&mut txn, environment.id).await?;
    queue::set_output_limit(&mut txn, claim, None).await?;
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let note = shop.urls.environment(&environment.hostname);
    let finished = json!({ "step": Step::Route, "ok": true, "duration_ms": duration_ms, "note": note });
    queue::append_event(&mut txn, claim, "step_finished", finished).await?;
    queue::finish(&mut txn, claim, status, Some(0), None).await?;
    Ok(txn.commit().await?)
}
