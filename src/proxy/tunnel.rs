//! Websockets: once both sides agreed to the upgrade, bytes travel in both directions until one side ends.

use super::admission::Guard;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::{io::copy_bidirectional, sync::OwnedSemaphorePermit};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[derive(Debug, Clone)]
pub struct Tunnels {
    pub tracker: TaskTracker,
    /// Websockets never end by themselves, so a stop ends them at once: their clients reconnect to the next
    /// proxy, which a drain would only delay.
    pub stop: CancellationToken,
}

impl Tunnels {
    pub fn open(
        &self,
        client: OnUpgrade,
        upstream: OnUpgrade,
        guard: Arc<Guard>,
        slot: Option<OwnedSemaphorePermit>,
    ) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            let _held = (guard, slot);
            tokio::select! {
                ended = join(client, upstream) => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a websocket ended");
                    }
                }
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn join(client: OnUpgrade, upstream: OnUpgrade) -> Result<(), super::body::BoxError> {
    let (client, upstream) = tokio::try_join!(client, upstream)?;
    copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream)).await?;
    Ok(())
}
