//! Runs whose worker went silent: their leases ran out, and they go back to the queue.

use super::{
    look::{Look, Reconciler, Round},
    trouble::Trouble,
};
use crate::queue;

pub struct StuckRuns;

impl Reconciler for StuckRuns {
    const NAME: &'static str = "stuck_runs";
    type Job = ();

    async fn look(&self, round: &Round<'_>) -> Result<Look<()>, Trouble> {
        let runs = sqlx::query!(
            r#"select id, worker_id, lease_expires_at < clock_timestamp() as "is_stuck!" from ops.runs
               where status in ('claimed', 'running') order by id"#
        );
        let runs = runs.fetch_all(&round.shop.pool).await?;
        let mut look = Look::at(runs.len());
        for run in runs.into_iter().filter(|run| run.is_stuck) {
            let why = format!("its worker {} is silent", run.worker_id.unwrap_or_default());
            look.mends(run.id, "requeue", why, ());
        }
        Ok(look)
    }

    /// All of them at once; the next finds nothing left to do.
    async fn act(&self, round: &Round<'_>, (): &()) -> Result<(), Trouble> {
        let mut conn = round.shop.pool.acquire().await?;
        queue::requeue_lost(&mut conn).await?;
        Ok(())
    }
}
