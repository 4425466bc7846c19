//! The log of a run as JSON lines, to its end or as it grows. Read page by page as the reader takes them. An error
//! breaks the stream off, so that its reader knows that this was not the end.

use super::{
    super::{
        Identity, Web,
        live::{Change, RECHECK},
    },
    Problem, ProblemBody,
    extract::{Path, Query},
};
use app::live::Topic;
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use odooops::{
    Error,
    access::{Action, authorise},
    id::RunId,
    log::{self, LogLine},
    run,
};
use serde::Deserialize;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, sleep_until},
};
use utoipa::IntoParams;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct From {
    /// Lines after this sequence; all of them without it.
    #[serde(default)]
    after: i64,
    /// Goes on until the run has ended.
    #[serde(default)]
    follow: bool,
}

/// A run's log, one JSON object a line (`application/x-ndjson`), in order of `seq`. A stream that broke off is
/// resumed with `after`.
#[utoipa::path(get, path = "/runs/{run}/logs", tag = "runs", params(("run" = RunId, Path), From),
    responses((status = 200, body = LogLine, content_type = "application/x-ndjson"), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody)))]
pub async fn logs(
    State(web): State<Web>,
    identity: Identity,
    Path(run): Path<RunId>,
    Query(from): Query<From>,
) -> Result<Response, Problem> {
    let follower = Follower::new(web, identity, run, from).await?;
    let pages = stream::try_unfold(follower, async |mut follower| {
        let page = follower.next().await?;
        Ok::<_, Error>(page.map(|page| (page, follower)))
    });
    Ok(json_lines(Body::from_stream(pages)))
}

pub fn json_lines(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

struct Follower {
    web: Web,
    identity: Identity,
    run: RunId,
    after: i64,
    follow: bool,
    changes: Receiver<Change>,
    /// The run had ended before the last page was read.
    ended: bool,
    checked: Instant,
}

impl Follower {
    async fn new(web: Web, identity: Identity, run: RunId, from: From) -> Result<Self, Error> {
        // Before the first look, so that nothing falls between.
        let changes = web.live.changes();
        let checked = Instant::now();
        let after = from.after.max(0);
        let follower =
            Self { web, identity, run, after, follow: from.follow, changes, ended: false, checked };
        let mut txn = follower.identity.begin(&follower.web).await?;
        authorise(&mut txn, &follower.identity.actor(), Action::ViewLogs(run)).await?;
        txn.commit().await?;
        Ok(follower)
    }

    /// The next page of lines; None at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.checked.elapsed() >= RECHECK {
                self.identity = self.identity.again(&self.web).await?;
                self.checked = Instant::now();
            }
            let actor = self.identity.actor();
            let mut txn = self.identity.begin(&self.web).await?;
            authorise(&mut txn, &actor, Action::ViewLogs(self.run)).await?;
            let lines = log::query::page_within(&mut txn, self.run, self.after, 1000, 256 * 1024).await?;
            if let Some(last) = lines.last() {
                self.after = last.seq;
                return Ok(Some(written(&lines)?));
            }
            if !self.follow || self.ended {
                return Ok(None);
            }
            let view = run::service::view(&mut txn, &actor, self.run, &self.web.urls).await?;
            txn.commit().await.map_err(Error::from)?;
            // Its last lines may have come after the empty page: look once more.
            self.ended = view.status.is_terminal();
            if !self.ended {
                self.wait().await?;
            }
        }
    }

    async fn wait(&mut self) -> Result<(), Error> {
        let again = Instant::now() + RECHECK;
        loop {
            tokio::select! {
                () = self.web.ending.cancelled() => return Err(Error::unavailable("restart")),
                () = sleep_until(again) => return Ok(()),
                change = self.changes.recv() => match change {
                    Ok(change) if change.touches(Topic::Log(self.run)) || change.touches(Topic::Run(self.run)) => return Ok(()),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Ok(()),
                    Err(RecvError::Closed) => return Err(Error::unavailable("restart")),
                },
            }
        }
    }
}

fn written(lines: &[LogLine]) -> Result<Bytes, Error> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).map_err(Error::internal)?;
        text.push(b'\n');
    }
    Ok(text.into())
}
