use super::{ask::ask_to_be_told, limits::Limits, snapshot::Snapshots, tail::Tails};
use app::live::Topic;
use odooops::{
    id::{ProjectId, RunId},
    postgres::{Announcement, Heard},
};
use sqlx::PgPool;
use std::{convert::Infallible, sync::Arc};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

const CHANNELS: &[&str] =
    &["ops_board", "ops_run_changed", "ops_log", "ops_projects", "ops_hosts", "ops_reconciled"];

/// What happened, as far as PostgreSQL told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Board(ProjectId),
    Run(RunId),
    /// The run's log reaches to this sequence now.
    Log(RunId, i64),
    Projects,
    /// Hosts, or what they answered.
    Platform,
    /// Notifications may have been missed: read everything again.
    Everything,
}

impl Change {
    fn parse(channel: &str, payload: &str) -> Option<Self> {
        match channel {
            "ops_board" => payload.parse().ok().map(Self::Board),
            "ops_run_changed" => payload.parse().ok().map(Self::Run),
            "ops_log" => {
                let (run, seq) = payload.split_once(':')?;
                Some(Self::Log(run.parse().ok()?, seq.parse().ok()?))
            }
            "ops_projects" => Some(Self::Projects),
            "ops_hosts" | "ops_reconciled" => Some(Self::Platform),
            _ => None,
        }
    }

    /// Whether what a page shows of this topic may be old now.
    pub fn touches(self, topic: Topic) -> bool {
        match (self, topic) {
            (Self::Everything, _) => true,
            (Self::Board(project), Topic::Board(shown)) => project == shown,
            (Self::Run(run) | Self::Log(run, _), Topic::Run(shown) | Topic::Log(shown)) => {
                run == shown
                    && matches!((self, topic), (Self::Run(_), Topic::Run(_)) | (Self::Log(..), Topic::Log(_)))
            }
            // The list shows counts of branches, builds and environments.
            (Self::Projects | Self::Board(_), Topic::Projects) => true,
            // Every change of a run changes the queue.
            (Self::Platform | Self::Board(_), Topic::Platform) => true,
            _ => false,
        }
    }
}

/// Fans changes out to sockets and streams. A receiver that lags behind reads everything again.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    changes: broadcast::Sender<Change>,
    /// Somebody began to watch.
    watched: Notify,
    snapshots: Snapshots,
    tails: Tails,
    limits: Arc<Limits>,
}

impl Hub {
    /// Changes kept for a receiver that is busy.
    const KEPT: usize = 256;

    pub fn new() -> Self {
        let changes = broadcast::Sender::new(Self::KEPT);
        let (snapshots, tails) = (Snapshots::default(), Tails::default());
        Self(Arc::new(Inner { changes, watched: Notify::new(), snapshots, tails, limits: Arc::default() }))
    }

    pub fn changes(&self) -> broadcast::Receiver<Change> {
        let receiver = self.0.changes.subscribe();
        self.0.watched.notify_one();
        receiver
    }

    /// Returns when somebody watches.
    pub async fn watched(&self) {
        while self.0.changes.receiver_count() == 0 {
            self.0.watched.notified().await;
        }
    }

    pub fn snapshots(&self) -> &Snapshots {
        &self.0.snapshots
    }

    pub fn tails(&self) -> &Tails {
        &self.0.tails
    }

    pub fn limits(&self) -> &Arc<Limits> {
        &self.0.limits
    }

    pub fn tell(&self, change: Change) {
        // First what is kept becomes old, then readers are woken: none of them can find the old one.
        self.0.snapshots.outdate(change);
        self.0.tails.note(change);
        // Nobody listening is fine.
        let _ = self.0.changes.send(change);
    }

    /// Hears PostgreSQL until the process ends, across every loss of the connection.
    pub async fn listen(&self, pool: &PgPool, ending: &CancellationToken) {
        let heard = Heard::alone(pool, CHANNELS, ending.clone());
        let telling = ending.run_until_cancelled(self.tell_all(heard));
        tokio::join!(telling, ask_to_be_told(self, pool, ending));
    }

    async fn tell_all(&self, mut heard: Heard) -> Infallible {
        loop {
            match heard.next().await {
                Announcement::Missed => self.tell(Change::Everything),
                Announcement::Told { channel, payload } => match Change::parse(&channel, &payload) {
                    Some(change) => self.tell(change),
                    None => tracing::warn!(%channel, "a notification that is none of ours"),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_touch_what_they_are_about_and_nothing_else() {
        let (run, other) = (RunId::new(), RunId::new());
        let project = ProjectId::new();
        let log = Change::parse("ops_log", &format!("{run}:17")).unwrap();
        assert_eq!(log, Change::Log(run, 17));
        assert!(log.touches(Topic::Log(run)));
        assert!(!log.touches(Topic::Log(other)) && !log.touches(Topic::Run(run)));
        let changed = Change::parse("ops_run_changed", &run.to_string()).unwrap();
        assert!(changed.touches(Topic::Run(run)) && !changed.touches(Topic::Log(run)));
        let board = Change::parse("ops_board", &project.to_string()).unwrap();
        assert!(board.touches(Topic::Board(project)) && board.touches(Topic::Projects));
        assert!(board.touches(Topic::Platform) && !log.touches(Topic::Platform));
        assert!(!board.touches(Topic::Board(ProjectId::new())));
        assert!(Change::Everything.touches(Topic::Log(run)));
        for bad in [("ops_log", "x"), ("ops_log", "x:1"), ("ops_board", ""), ("else", "")] {
            assert_eq!(Change::parse(bad.0, bad.1), None);
        }
    }
}
