//! PostgreSQL announces changes only while a console asks for them (`ops.console_listens`): each announcement holds up
//! all other commits for a moment, and mostly nobody watches.

use super::hub::{Change, Hub};
use sqlx::PgPool;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// One question holds for a minute.
const HOLDS: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(20);
/// What was about to commit when the question was asked did not hear of it.
const COMMITTING: Duration = Duration::from_secs(1);

pub async fn ask_to_be_told(hub: &Hub, pool: &PgPool, ending: &CancellationToken) {
    let asking = async {
        let mut asked: Option<Instant> = None;
        loop {
            hub.watched().await;
            let at = Instant::now();
            if let Err(error) =
                sqlx::query!(r#"select ops.console_listens() as "done: ()""#).fetch_one(pool).await
            {
                tracing::warn!(cause = %error, "changes may come late: PostgreSQL was not asked to announce them");
                sleep(COMMITTING).await;
                continue;
            }
            // Pages read what they show when they began to watch, and nobody told what changed since.
            if asked.replace(at).is_none_or(|before| before.elapsed() > HOLDS) {
                hub.tell(Change::Everything);
                sleep(COMMITTING).await;
                hub.tell(Change::Everything);
            }
            sleep(AGAIN).await;
        }
    };
    ending.run_until_cancelled(asking).await;
}
