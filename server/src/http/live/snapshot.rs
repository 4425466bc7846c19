//! What many pages show alike - a board, a run - is read and put in words once per change, for all of them.

use super::hub::Change;
use app::live::Topic;
use axum::extract::ws::Utf8Bytes;
use odooops::Result;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, sleep_until},
};

/// A busy board is read at most this often.
const PACE: Duration = Duration::from_millis(100);

/// The snapshots that somebody looks at. One that nobody holds is gone.
#[derive(Default)]
pub struct Snapshots(Mutex<HashMap<Topic, Weak<Snapshot>>>);

impl Snapshots {
    pub fn of(&self, topic: Topic) -> Arc<Snapshot> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = all.get(&topic).and_then(Weak::upgrade) {
            return snapshot;
        }
        all.retain(|_, snapshot| snapshot.strong_count() > 0);
        let snapshot = Arc::new(Snapshot::default());
        all.insert(topic, Arc::downgrade(&snapshot));
        snapshot
    }

    pub fn outdate(&self, change: Change) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, snapshot) in all.iter() {
            if change.touches(*topic)
                && let Some(snapshot) = snapshot.upgrade()
            {
                snapshot.changes.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

#[derive(Default)]
pub struct Snapshot {
    /// How many changes were told so far.
    changes: AtomicU64,
    latest: AsyncMutex<Option<Latest>>,
}

struct Latest {
    /// Read after this many changes.
    changes: u64,
    at: Instant,
    frame: Utf8Bytes,
}

impl Snapshot {
    /// The newest frame; read by the first who asks after a change, while others wait for it. The caller was
    /// authorised for the topic: the frame is the same for all who may see it.
    pub async fn frame(&self, read: impl AsyncFnOnce() -> Result<String>) -> Result<Utf8Bytes> {
        let mut latest = self.latest.lock().await;
        if let Some(kept) = latest.as_ref() {
            if kept.changes == self.changes.load(Ordering::SeqCst) {
                return Ok(kept.frame.clone());
            }
            sleep_until(kept.at + PACE).await;
        }
        // Counted before reading: a change meanwhile makes this frame old at once.
        let changes = self.changes.load(Ordering::SeqCst);
        let frame = Utf8Bytes::from(read().await?);
        *latest = Some(Latest { changes, at: Instant::now(), frame: frame.clone() });
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odooops::id::ProjectId;
    use std::sync::atomic::AtomicUsize;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_read_once_for_all_and_at_a_bounded_pace() {
        let snapshots = Arc::new(Snapshots::default());
        let project = ProjectId::new();
        let reads = Arc::new(AtomicUsize::new(0));
        let began = Instant::now();
        let held = snapshots.of(Topic::Board(project));
        for round in 1..=5 {
            let asking = (0..50).map(|_| {
                let (snapshot, reads) = (snapshots.of(Topic::Board(project)), Arc::clone(&reads));
                tokio::spawn(async move {
                    let read = async || Ok(reads.fetch_add(1, Ordering::SeqCst).to_string());
                    snapshot.frame(read).await.unwrap().to_string()
                })
            });
            for frame in futures::future::join_all(asking).await {
                assert_eq!(frame.unwrap(), (round - 1).to_string());
            }
            assert_eq!(reads.load(Ordering::SeqCst), round);
            snapshots.outdate(Change::Board(project));
        }
        assert!(began.elapsed() >= PACE * 4);
        drop(held);
    }

    #[test]
    fn what_nobody_looks_at_is_forgotten() {
        let snapshots = Snapshots::default();
        for _ in 0..100 {
            drop(snapshots.of(Topic::Board(ProjectId::new())));
        }
        assert!(snapshots.0.lock().unwrap().len() <= 1);
    }
}
