//! What the daemon tells of its own accord: a container of ours died, or the kernel killed in it.

use super::{Docker, DockerError, Labels};
use bollard::{models::EventMessage, query_parameters::EventsOptions};
use futures::{Stream, StreamExt, TryStreamExt};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerEventKind {
    Died {
        exit_code: i64,
    },
    /// The kernel killed a process for the container's memory limit; the container itself may live on.
    OutOfMemory,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    pub container_id: String,
    pub labels: Labels,
    pub kind: ContainerEventKind,
    /// Of the daemon's clock, in nanoseconds; gives `since` after a lost connection.
    pub time_nano: i64,
}

impl Docker {
    /// Deaths and memory kills in containers of this installation, from `since` (nanoseconds, as in an earlier
    /// event; that event comes again) or from now. The stream ends with an error when the connection is lost:
    /// subscribe again, then look at the containers themselves, because the daemon keeps only the last 256 events.
    pub fn container_events(
        &self,
        since: Option<i64>,
    ) -> impl Stream<Item = Result<ContainerEvent, DockerError>> + Send + Unpin + use<> {
        let mut filters = self.ours();
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        filters.insert("event".to_owned(), vec!["die".to_owned(), "oom".to_owned()]);
        let options = EventsOptions {
            since: since.map(|nano| format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)),
            until: None,
            filters: Some(filters),
        };
        let client = self.client.clone();
        let lost =
            futures::stream::once(async { Err(DockerError::Unavailable("the events ended".to_owned())) });
        client
            .events(Some(options))
            .map_err(DockerError::from)
            .try_filter_map(|message| async move { Ok(event(message)) })
            .chain(lost)
            .boxed()
    }
}

fn event(message: EventMessage) -> Option<ContainerEvent> {
    let actor = message.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    let kind = match message.action.as_deref() {
        Some("die") => ContainerEventKind::Died {
            exit_code: attributes.get("exitCode").and_then(|code| code.parse().ok()).unwrap_or(-1),
        },
        Some("oom") => ContainerEventKind::OutOfMemory,
        _ => return None,
    };
    Some(ContainerEvent {
        container_id: actor.id?,
        labels: Labels::from_map(&attributes),
        kind,
        time_nano: message.time_nano.unwrap_or_default(),
    })
}
