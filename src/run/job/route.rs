//! The hostname is published, and what it replaces is taken away.

use super::{
    JobError,
    progress::Progress,
    start::{PORT, Server},
};
use crate::{
    environment::{self, query::Environment},
    queue,
};

pub async fn publish(
    progress: Progress<'_>,
    environment: &Environment,
    server: &Server,
) -> Result<((), String), JobError> {
    let shop = progress.shop;
    let mut txn = shop.pool.begin().await?;
    // The lease is checked in the transaction that publishes: a worker that lost it publishes nothing.
    queue::append_event(
        &mut txn,
        progress.claim,
        "published",
        serde_json::json!({ "hostname": environment.hostname }),
    )
    .await?;
    environment::query::set_running(&mut txn, environment.id, &server.id, &server.address.to_string(), PORT)
        .await?;
    queue::set_output_limit(&mut txn, progress.claim.id, None).await?;
    environment::query::retire_older(&mut txn, environment.id).await?;
    txn.commit().await?;
    shop.changed.notify_one();
    Ok(((), shop.urls.environment(&environment.hostname)))
}
