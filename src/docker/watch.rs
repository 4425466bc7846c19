//! The daemon itself: when it goes away, what runs in its hands is interrupted; when it is back, somebody looks.

use super::{ContainerEvent, Docker};
use futures::StreamExt;
use std::time::Duration;
use tokio::time::sleep;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Losses {
    count: u64,
    away: bool,
}

/// What the watch saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Container(ContainerEvent),
    /// The daemon answers again after it had gone away: everything may have changed.
    Back,
}

impl Docker {
    /// Tells of containers' ends within the moment, and of the daemon's own. Runs until it is dropped.
    pub async fn watch(&self, mut seen: impl FnMut(Seen)) {
        let mut since = None;
        loop {
            let mut events = self.container_events(since);
            let cause = loop {
                match events.next().await {
                    Some(Ok(event)) => {
                        since = Some(event.time_nano);
                        seen(Seen::Container(event));
                    }
                    Some(Err(cause)) => break cause.to_string(),
                    None => break "the events ended".to_owned(),
                }
            };
            tracing::warn!(%cause, "docker went away");
            self.inner.losses.send_modify(|losses| *losses = Losses { count: losses.count + 1, away: true });
            let mut pause = FIRST_PAUSE;
            while self.ping().await.is_err() {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            self.inner.losses.send_modify(|losses| losses.away = false);
            tracing::info!("docker is back");
            seen(Seen::Back);
        }
    }

    /// Until the daemon goes away; at once while it is. Only while somebody [watches](Self::watch).
    pub fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut losses = self.inner.losses.subscribe();
        let count = losses.borrow().count;
        async move {
            if losses.wait_for(|now| now.away || now.count > count).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Until the daemon is not known to be away. Nothing is begun before.
    pub async fn back(&self) {
        let mut losses = self.inner.losses.subscribe();
        // The sender lives as long as this.
        _ = losses.wait_for(|now| !now.away).await;
    }
}
