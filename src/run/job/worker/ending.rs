//! How a run ends: its remains are removed and its end is recorded, under its lease.

use super::super::{
    JobError, Workshop,
    collect::Collectors,
    progress::Progress,
    remove::{self, Patience},
};
use crate::{
    queue::{self, Claim},
    run::{LogLevel, RunStatus},
};
use std::time::Duration;

type Outcome = Result<(), queue::Error>;

pub async fn badly(shop: &Workshop, collectors: &Collectors, claim: &Claim, error: JobError) -> Outcome {
    match error {
        JobError::Lost => Ok(()),
        JobError::Canceled => {
            remove::everything_of(shop, collectors, claim, Patience::Person).await;
            finish(shop, claim, RunStatus::Canceled, None, None).await
        }
        JobError::Fail { message, exit_code } => {
            remove::everything_of(shop, collectors, claim, Patience::Slot).await;
            finish(shop, claim, RunStatus::Failed, exit_code, Some(&message)).await
        }
        JobError::Retry { .. } => {
            let reason = error.to_string();
            tracing::warn!(run = %claim.id, %reason, "the attempt failed");
            remove::everything_of(shop, collectors, claim, Patience::Slot).await;
            let progress = Progress { shop, claim };
            let _ = progress.log("system", LogLevel::Warn, &format!("This attempt ends: {reason}")).await;
            let reason = reason.as_str();
            persist(|| async move {
                let mut conn = shop.pool.acquire().await?;
                queue::retry(&mut conn, claim, reason).await
            })
            .await
        }
    }
}

pub async fn timed_out(shop: &Workshop, collectors: &Collectors, claim: &Claim, limit: Duration) -> Outcome {
    remove::everything_of(shop, collectors, claim, Patience::Slot).await;
    let message = format!("The build took longer than the {} that it may.", minutes(limit));
    finish(shop, claim, RunStatus::TimedOut, None, Some(&message)).await
}

pub async fn handed_back(shop: &Workshop, collectors: &Collectors, claim: &Claim) -> Outcome {
    remove::everything_of(shop, collectors, claim, Patience::Leaving).await;
    persist(|| async move {
        let mut conn = shop.pool.acquire().await?;
        queue::hand_back(&mut conn, claim, "The worker was stopped.").await
    })
    .await
}

async fn finish(
    shop: &Workshop,
    claim: &Claim,
    status: RunStatus,
    exit_code: Option<i32>,
    message: Option<&str>,
) -> Outcome {
    persist(|| async move {
        let mut conn = shop.pool.acquire().await?;
        queue::finish(&mut conn, claim, status, exit_code, message).await
    })
    .await
}

/// PostgreSQL may be restarting just now; the lease bounds how long we try.
async fn persist<F: Future<Output = Outcome>>(attempt: impl Fn() -> F) -> Outcome {
    let mut tries = 0;
    loop {
        match attempt().await {
            Err(queue::Error::Database(cause)) if tries < 20 => {
                tries += 1;
                tracing::warn!(%cause, "the ops database does not answer; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            outcome => return outcome,
        }
    }
}

fn minutes(limit: Duration) -> String {
    match limit.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} minutes", seconds / 60),
    }
}
