//! What one page looks at: when to read it again, and what it was told already.

use super::{
    super::{Identity, Web},
    snapshot::Snapshot,
    tail::{Page, Tail},
};
use app::live::{ToBrowser, Topic};
use axum::extract::ws::Utf8Bytes;
use odooops::{
    Error, Result,
    access::{Action, authorise},
    branch,
    id::RunId,
    log, project, run,
};
use sqlx::PgConnection;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What a page of a log has at most.
pub const LINES: i64 = 1000;
pub const BYTES: i64 = 256 * 1024;

pub struct Subscription {
    topic: Topic,
    /// When to look again; None: nothing has changed.
    pub due: Option<Instant>,
    /// The last log line that was sent.
    after: i64,
    snapshot: Arc<Snapshot>,
    /// Of a log.
    tail: Option<Arc<Tail>>,
    /// The frame that was sent last, so that what did not change is not sent again.
    sent: Option<Utf8Bytes>,
}

impl Subscription {
    pub fn new(web: &Web, topic: Topic, after: Option<i64>) -> Self {
        // The list of projects differs between people, so nothing is sent of it: the page asks for it again.
        let due = (!matches!(topic, Topic::Projects | Topic::Platform)).then(Instant::now);
        let after = after.unwrap_or(0).max(0);
        let tail = match topic {
            Topic::Log(run) => Some(web.live.tails().of(run)),
            _ => None,
        };
        Self { topic, due, after, snapshot: web.live.snapshots().of(topic), tail, sent: None }
    }

    /// Something changed: look again, but not more often than the eye follows.
    pub fn wake(&mut self) {
        let pause = match self.topic {
            Topic::Log(_) => Duration::from_millis(20),
            // The snapshot keeps the pace.
            Topic::Board(_) | Topic::Run(_) => Duration::ZERO,
            Topic::Projects | Topic::Platform => Duration::from_millis(500),
        };
        let at = Instant::now() + pause;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    pub fn later(&mut self, pause: Duration) {
        self.due = Some(Instant::now() + pause);
    }

    /// Reads what is due. None: there is nothing new.
    pub async fn read(&mut self, web: &Web, identity: &Identity) -> Result<Option<Utf8Bytes>> {
        self.due = None;
        let frame = match self.topic {
            Topic::Board(_) | Topic::Run(_) => {
                let topic = self.topic;
                self.snapshot.frame(async || read_whole(web, identity, topic).await).await?
            }
            Topic::Log(run) => {
                let after = self.after;
                let Some(tail) = &self.tail else { return Ok(None) };
                let page = tail.page(after, async || read_lines(web, identity, run, after).await).await?;
                let Some(page) = page else { return Ok(None) };
                self.after = page.last;
                // A log grows while it is read, and a page may end before the log does.
                self.due = tail.reaches_beyond(page.last).then(Instant::now);
                return Ok(Some(page.frame));
            }
            Topic::Projects | Topic::Platform => {
                return text(ToBrowser::news(self.topic, &())).map(|text| Some(text.into()));
            }
        };
        if self.sent.as_ref() == Some(&frame) {
            return Ok(None);
        }
        self.sent = Some(frame.clone());
        Ok(Some(frame))
    }
}

pub fn text(message: serde_json::Result<ToBrowser>) -> Result<String> {
    message.and_then(|message| serde_json::to_string(&message)).map_err(Error::internal)
}

/// Asks whether this person may look at the topic's object.
pub async fn may_look(conn: &mut PgConnection, identity: &Identity, topic: Topic) -> Result<()> {
    let action = match topic {
        Topic::Board(project) => Action::ViewProject(project),
        Topic::Run(run) => Action::ViewRun(run),
        Topic::Log(run) => Action::ViewLogs(run),
        Topic::Projects => Action::ListProjects,
        Topic::Platform => Action::AdministerPlatform,
    };
    authorise(conn, &identity.actor(), action).await
}

async fn read_lines(web: &Web, identity: &Identity, run: RunId, after: i64) -> Result<Option<Page>> {
    let mut txn = identity.begin(web).await?;
    let lines = log::query::page_within(&mut txn, run, after, LINES, BYTES).await?;
    txn.commit().await?;
    let Some(last) = lines.last().map(|line| line.seq) else { return Ok(None) };
    let frame = text(ToBrowser::lines(run, &lines))?.into();
    Ok(Some(Page { last, frame }))
}

async fn read_whole(web: &Web, identity: &Identity, topic: Topic) -> Result<String> {
    let actor = identity.actor();
    let mut txn = identity.begin(web).await?;
    let message = match topic {
        Topic::Board(project_id) => {
            let slug = project::query::slug_by_id(&mut txn, project_id).await?;
            let slug = slug.ok_or(Error::not_found("project"))?;
            let board = branch::service::board(&mut txn, &actor, &slug, &web.urls).await?;
            ToBrowser::news(topic, &board)
        }
        Topic::Run(run) => {
            let run = run::service::view(&mut txn, &actor, run, &web.urls).await?;
            ToBrowser::news(topic, &run)
        }
        Topic::Log(_) | Topic::Projects | Topic::Platform => {
            return Err(Error::internal("a topic that is not read whole"));
        }
    };
    txn.commit().await?;
    text(message)
}
