//! A worker that is told to stop: it claims nothing more, finishes what it began, and hands back what the grace does
//! not suffice for.

use super::Yard;
use crate::{branch::Stage, odoo::demo};

#[tokio::test]
async fn odoo_a_draining_worker_finishes_what_it_began_and_begins_nothing() {
    let mut yard = Yard::start_with(&[("drain_seconds", "300"), ("worker_concurrency", "2")]).await;
    let (branch, sha) = yard.branch("main", Stage::Development, demo::files()).await;
    let begun = yard.queue(branch, &sha).await;
    yard.installing(begun).await;
    yard.stop.drain.cancel();
    let (other, sha) = yard.branch("other", Stage::Development, demo::files()).await;
    let waiting = yard.queue(other, &sha).await;
    yard.wait("the worker is seen to stop", async |conn| {
        let seen =
            sqlx::query_scalar!("select true from ops.worker_heartbeats where stopping_since is not null");
        seen.fetch_optional(conn).await.unwrap().flatten()
    })
    .await;

    yard.worker.take().unwrap().await.unwrap().unwrap();
    let ended = yard.ended(begun).await;
    assert_eq!(ended.status, "succeeded", "{}", ended.error);
    yard.state(ended.environment, "running").await;
    let row = sqlx::query!("select status, attempt from ops.runs where id = $1", waiting.0);
    let row = row.fetch_one(&mut yard.conn().await).await.unwrap();
    assert_eq!((row.status.as_str(), row.attempt), ("queued", 0), "a slot was free, and it was not taken");
    super::clean(&yard.shop.docker).await;
}

#[tokio::test]
async fn odoo_what_the_grace_does_not_suffice_for_is_handed_back() {
    let mut yard = Yard::start_with(&[("drain_seconds", "1")]).await;
    let (branch, sha) = yard.branch("main", Stage::Development, demo::files()).await;
    let run = yard.queue(branch, &sha).await;
    yard.installing(run).await;
    yard.stop.drain.cancel();
    yard.worker.take().unwrap().await.unwrap().unwrap();
    let row = sqlx::query!(
        "select status, attempt, handed_back, environment_id from ops.runs where id = $1",
        run.0
    );
    let row = row.fetch_one(&mut yard.conn().await).await.unwrap();
    assert_eq!((row.status.as_str(), row.attempt, row.handed_back), ("queued", 1, 1));
    yard.assert_nothing_left(row.environment_id.unwrap().into()).await;
}
