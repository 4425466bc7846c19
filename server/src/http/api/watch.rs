//! A run as it goes on: one JSON line with the whole run at once and after every change, until it has ended.

use super::{
    super::{
        Identity, Web,
        live::{Change, RECHECK},
    },
    Problem, ProblemBody,
    extract::Path,
    stream::json_lines,
};
use app::live::Topic;
use axum::{
    body::{Body, Bytes},
    extract::State,
    response::Response,
};
use futures::stream;
use odooops::{
    Error,
    id::RunId,
    run::{self, RunView},
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, sleep_until},
};

/// A run at once and after every change, one JSON object a line (`application/x-ndjson`); the last one has ended.
#[utoipa::path(get, path = "/runs/{run}/watch", tag = "runs", params(("run" = RunId, Path)),
    responses((status = 200, body = RunView, content_type = "application/x-ndjson"), (status = 404, body = ProblemBody)))]
pub async fn watch(
    State(web): State<Web>,
    identity: Identity,
    Path(run): Path<RunId>,
) -> Result<Response, Problem> {
    let changes = web.live.changes();
    let mut watcher =
        Watcher { web, identity, run, changes, shown: None, checked: Instant::now(), ended: false };
    let first = watcher.look().await?;
    let first = stream::iter(first.map(Ok));
    let later = stream::try_unfold(watcher, async |mut watcher| {
        let next = watcher.next().await?;
        Ok::<_, Error>(next.map(|line| (line, watcher)))
    });
    Ok(json_lines(Body::from_stream(futures::StreamExt::chain(first, later))))
}

struct Watcher {
    web: Web,
    identity: Identity,
    run: RunId,
    changes: Receiver<Change>,
    shown: Option<RunView>,
    checked: Instant,
    ended: bool,
}

impl Watcher {
    /// The run when it differs from what was shown.
    async fn look(&mut self) -> Result<Option<Bytes>, Error> {
        let mut txn = self.identity.begin(&self.web).await?;
        let view = run::service::view(&mut txn, &self.identity.actor(), self.run, &self.web.urls).await?;
        txn.commit().await?;
        self.ended = view.status.is_terminal();
        if self.shown.as_ref() == Some(&view) {
            return Ok(None);
        }
        let mut line = serde_json::to_vec(&view).map_err(Error::internal)?;
        line.push(b'\n');
        self.shown = Some(view);
        Ok(Some(line.into()))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.ended {
            self.wait().await?;
            if self.checked.elapsed() >= RECHECK {
                self.identity = self.identity.again(&self.web).await?;
                self.checked = Instant::now();
            }
            if let Some(line) = self.look().await? {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    async fn wait(&mut self) -> Result<(), Error> {
        let again = Instant::now() + RECHECK;
        loop {
            tokio::select! {
                () = self.web.ending.cancelled() => return Err(Error::unavailable("restart")),
                () = sleep_until(again) => return Ok(()),
                change = self.changes.recv() => match change {
                    Ok(change) if change.touches(Topic::Run(self.run)) => return Ok(()),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Ok(()),
                    Err(RecvError::Closed) => return Err(Error::unavailable("restart")),
                },
            }
        }
    }
}
