//! One connection that hears what PostgreSQL announces, for everybody in this process who waits for something.

use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

/// Announcements kept for a receiver that is busy. One that lags further behind is told that it missed some.
const KEPT: usize = 1024;
/// Silence after which the connection is asked whether it still lives.
const SILENCE: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    Told {
        channel: Arc<str>,
        payload: Arc<str>,
    },
    /// Some may not have been heard: read everything again.
    Missed,
}

/// What is announced on some channels, from now until `stop`, across every loss of the connection.
#[derive(Debug, Clone)]
pub struct Announcements(broadcast::Sender<Announcement>);

/// One receiver's view.
#[derive(Debug)]
pub struct Heard(broadcast::Receiver<Announcement>);

impl Announcements {
    pub fn listen(pool: &PgPool, channels: &'static [&'static str], stop: CancellationToken) -> Self {
        let this = Self(broadcast::Sender::new(KEPT));
        this.begin(pool, channels, stop);
        this
    }

    fn begin(&self, pool: &PgPool, channels: &'static [&'static str], stop: CancellationToken) {
        // A connection of its own: it is held as long as the process lives, and none that others wait for.
        let own = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with((*pool.connect_options()).clone());
        let sender = self.0.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let (mut pause, mut deaf) = (FIRST_PAUSE, false);
            loop {
                let Err(cause) = hear(&own, channels, &sender, || {
                    pause = FIRST_PAUSE;
                    if std::mem::take(&mut deaf) {
                        tracing::info!("the ops database is heard again");
                    }
                })
                .await;
                // Once for each time that it is away, not for each try.
                if !std::mem::replace(&mut deaf, true) {
                    tracing::warn!(%cause, "nothing is heard from the ops database; connecting until it is there");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }));
    }

    pub fn subscribe(&self) -> Heard {
        Heard(self.0.subscribe())
    }
}

impl Heard {
    /// For a process with one who waits: it misses nothing from the first moment on.
    pub fn alone(pool: &PgPool, channels: &'static [&'static str], stop: CancellationToken) -> Self {
        let (sender, receiver) = broadcast::channel(KEPT);
        Announcements(sender).begin(pool, channels, stop);
        Self(receiver)
    }

    /// The next one. Never returns once nobody listens any more.
    pub async fn next(&mut self) -> Announcement {
        match self.0.recv().await {
            Ok(announcement) => announcement,
            Err(RecvError::Lagged(_)) => Announcement::Missed,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Forgets what is waiting: the caller is about to look for itself.
    pub fn skip(&mut self) {
        self.0 = self.0.resubscribe();
    }

    /// Until something was announced on this channel, or may have been.
    pub async fn on(&mut self, wanted: &str) -> Announcement {
        loop {
            match self.next().await {
                Announcement::Told { channel, payload } if &*channel == wanted => {
                    return Announcement::Told { channel, payload };
                }
                Announcement::Told { .. } => {}
                Announcement::Missed => return Announcement::Missed,
            }
        }
    }
}

async fn hear(
    pool: &PgPool,
    channels: &[&str],
    sender: &broadcast::Sender<Announcement>,
    connected: impl FnOnce(),
) -> Result<Infallible, sqlx::Error> {
    // Nobody may be waiting just now; that is fine, and so below.
    let tell = |announcement| drop(sender.send(announcement));
    let connecting = async {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen_all(channels.iter().copied()).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    let mut listener =
        tokio::time::timeout(PATIENCE, connecting).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    connected();
    loop {
        // What happened before we listened was not heard.
        tell(Announcement::Missed);
        loop {
            match tokio::time::timeout(SILENCE, listener.try_recv()).await {
                Ok(Ok(Some(told))) => tell(Announcement::Told {
                    channel: told.channel().into(),
                    payload: told.payload().into(),
                }),
                // The connection was lost and is there again.
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let alive = sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(&mut listener);
                    tokio::time::timeout(PATIENCE, alive).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Announcement, Announcements};
    use crate::postgres::testing::TestDb;
    use sqlx::{ConnectOptions, Connection, PgConnection};
    use std::time::Duration;
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn tell(conn: &mut PgConnection, payload: &str) {
        sqlx::query!("select pg_notify('ops_test', $1)", payload).fetch_one(conn).await.unwrap();
    }

    #[tokio::test]
    async fn everybody_hears_over_one_connection_and_again_after_it_was_lost() {
        let db = TestDb::new().await;
        let mut conn = db.superuser_options().connect().await.unwrap();
        let stop = CancellationToken::new();
        let announcements = Announcements::listen(&db.worker, &["ops_test"], stop.clone());
        let mut receivers = [announcements.subscribe(), announcements.subscribe()];
        let told = |payload: &str| Announcement::Told { channel: "ops_test".into(), payload: payload.into() };
        for receiver in &mut receivers {
            assert_eq!(timeout(PATIENCE, receiver.next()).await.unwrap(), Announcement::Missed);
        }
        tell(&mut conn, "one").await;
        for receiver in &mut receivers {
            assert_eq!(timeout(PATIENCE, receiver.on("ops_test")).await.unwrap(), told("one"));
        }
        let ended = sqlx::query_scalar!(
            r#"select count(pg_terminate_backend(pid)) as "count!" from pg_catalog.pg_stat_activity
               where datname = current_database() and usename = 'ops_worker'"#
        );
        assert_eq!(ended.fetch_one(&mut conn).await.unwrap(), 1, "one connection serves both");
        for receiver in &mut receivers {
            assert_eq!(timeout(PATIENCE, receiver.next()).await.unwrap(), Announcement::Missed);
        }
        tell(&mut conn, "two").await;
        for receiver in &mut receivers {
            assert_eq!(timeout(PATIENCE, receiver.next()).await.unwrap(), told("two"));
        }
        stop.cancel();
        conn.close().await.unwrap();
    }
}
