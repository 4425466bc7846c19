use super::{
    super::{Identity, Web},
    RECHECK,
    hub::Change,
    limits::{Pace, Place},
    subscription::{Subscription, may_look, text},
};
use app::live::{ToBrowser, ToServer, Topic};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use odooops::{Error, audit};
use std::{collections::HashMap, pin::pin, time::Duration};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until, timeout},
};

const PING: Duration = Duration::from_secs(20);
/// A browser that was not heard of for this long is gone: it answers pings.
const SILENCE: Duration = Duration::from_secs(60);
/// How long one message may take to get through.
const STUCK: Duration = Duration::from_secs(30);
const MOST_SUBSCRIPTIONS: usize = 16;
/// What is asked again after the database did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Why a socket ends. The codes tell the browser whether to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The browser left, or does not take anything any more.
    Gone,
    /// We restart: come back.
    Restart,
    /// The session ended: sign in.
    SignedOut,
    /// A right was revoked: come back with what is left.
    Revoked,
    /// Not our protocol, or too much of it.
    Refused,
}

impl End {
    fn code(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Gone => None,
            Self::Restart => Some((1001, "restart")),
            Self::SignedOut => Some((4401, "signed out")),
            Self::Revoked => Some((4403, "revoked")),
            Self::Refused => Some((1008, "refused")),
        }
    }
}

type Outgoing = SplitSink<WebSocket, Message>;

/// One browser page's connection: a task that waits for the browser, for changes, and for time.
pub struct Socket {
    web: Web,
    identity: Identity,
    subscriptions: HashMap<Topic, Subscription>,
    changes: broadcast::Receiver<Change>,
    recheck: Interval,
    /// False while rights could not be asked for: nothing is sent meanwhile.
    sure: bool,
    pace: Pace,
    heard: Instant,
    _place: Place,
}

impl Socket {
    pub fn new(web: Web, identity: Identity, place: Place) -> Self {
        let changes = web.live.changes();
        let mut recheck = interval_at(Instant::now() + RECHECK, RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            web,
            identity,
            subscriptions: HashMap::new(),
            changes,
            recheck,
            sure: true,
            pace: Pace::new(),
            heard: Instant::now(),
            _place: place,
        }
    }

    pub async fn run(mut self, socket: WebSocket) {
        let (mut out, mut incoming) = socket.split();
        let end = self.serve(&mut out, &mut incoming).await;
        if let Some((code, reason)) = end.code() {
            let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
            let _ = timeout(Duration::from_secs(2), out.send(close)).await;
        }
    }

    async fn serve(
        &mut self,
        out: &mut Outgoing,
        incoming: &mut (impl StreamExt<Item = Result<Message, axum::Error>> + Unpin),
    ) -> End {
        let ending = self.web.ending.clone();
        let mut ping = interval_at(Instant::now() + PING, PING);
        let hello = ToBrowser::Hello { build: self.web.site.build.clone() };
        let mut step = self.say(out, hello).await;
        loop {
            if let Err(end) = step {
                return end;
            }
            let due = self.subscriptions.values().filter_map(|s| s.due).min();
            let wake = sleep_until(due.unwrap_or_else(Instant::now));
            step = tokio::select! {
                () = ending.cancelled() => Err(End::Restart),
                message = incoming.next() => match message {
                    Some(Ok(message)) => self.hear(out, message).await,
                    Some(Err(_)) | None => Err(End::Gone),
                },
                change = self.changes.recv() => self.note(change),
                _ = self.recheck.tick() => self.check(Some(&mut *out)).await,
                _ = ping.tick() => self.ping(out).await,
                () = wake, if due.is_some() && self.sure => self.serve_due(out).await,
            };
        }
    }

    async fn hear(&mut self, out: &mut Outgoing, message: Message) -> Result<(), End> {
        self.heard = Instant::now();
        let asked = match message {
            Message::Text(text) => serde_json::from_str(&text).map_err(|_| End::Refused)?,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
            Message::Binary(_) => return Err(End::Refused),
        };
        if !self.pace.spend() {
            return Err(End::Refused);
        }
        match asked {
            ToServer::Subscribe { topic, after } => self.subscribe(out, topic, after).await,
            ToServer::Unsubscribe { topic } => {
                self.subscriptions.remove(&topic);
                Ok(())
            }
        }
    }

    async fn subscribe(&mut self, out: &mut Outgoing, topic: Topic, after: Option<i64>) -> Result<(), End> {
        if self.subscriptions.len() >= MOST_SUBSCRIPTIONS && !self.subscriptions.contains_key(&topic) {
            return Err(End::Refused);
        }
        let (verdict, refused) = audit::noting(self.may_look(topic)).await;
        self.web.refusals.write_down(refused, "GET /live");
        match verdict {
            Ok(()) => {}
            // Nothing was decided: the browser asks again when it has come back.
            Err(Error::Unavailable { .. } | Error::Internal { .. }) => return Err(End::Restart),
            Err(error) => {
                self.subscriptions.remove(&topic);
                return self.say(out, ToBrowser::Denied { topic, error }).await;
            }
        }
        self.subscriptions.insert(topic, Subscription::new(&self.web, topic, after));
        Ok(())
    }

    async fn may_look(&self, topic: Topic) -> Result<(), Error> {
        let mut txn = self.identity.begin(&self.web).await?;
        may_look(&mut txn, &self.identity, topic).await?;
        txn.commit().await?;
        Ok(())
    }

    fn note(&mut self, change: Result<Change, RecvError>) -> Result<(), End> {
        let change = match change {
            Ok(change) => change,
            // Some were missed: as if everything had changed.
            Err(RecvError::Lagged(_)) => Change::Everything,
            Err(RecvError::Closed) => return Err(End::Restart),
        };
        for (topic, subscription) in &mut self.subscriptions {
            if change.touches(*topic) {
                subscription.wake();
            }
        }
        Ok(())
    }

    /// Reads and sends one thing that is due, the one that waits longest. One at a time, so that changes, rights
    /// and the browser are heard between the pages of a long log.
    async fn serve_due(&mut self, out: &mut Outgoing) -> Result<(), End> {
        let now = Instant::now();
        let next = self.subscriptions.iter_mut().filter(|(_, s)| s.due.is_some_and(|due| due <= now));
        let Some((topic, subscription)) = next.min_by_key(|(_, s)| s.due) else { return Ok(()) };
        let topic = *topic;
        match subscription.read(&self.web, &self.identity).await {
            Ok(Some(frame)) => self.send(out, Message::Text(frame)).await,
            Ok(None) => Ok(()),
            Err(Error::Unavailable { .. } | Error::Internal { .. }) => {
                subscription.later(RETRY);
                Ok(())
            }
            // What could be read before: a right was taken away, whoever notices it first.
            Err(error) => {
                self.subscriptions.clear();
                self.say(out, ToBrowser::Denied { topic, error }).await?;
                Err(End::Revoked)
            }
        }
    }

    /// Asks again who this is and whether they may still look. Says what was lost where it can, and ends.
    async fn check(&mut self, out: Option<&mut Outgoing>) -> Result<(), End> {
        match self.revoked().await {
            Ok(revoked) if revoked.is_empty() => {
                self.sure = true;
                Ok(())
            }
            Ok(revoked) => {
                self.subscriptions.clear();
                if let Some(out) = out {
                    for (topic, error) in revoked {
                        let denied =
                            text(Ok(ToBrowser::Denied { topic, error })).map_err(|_| End::Revoked)?;
                        let sent = out.send(Message::Text(denied.into()));
                        timeout(RETRY, sent).await.map_err(|_| End::Revoked)?.map_err(|_| End::Gone)?;
                    }
                }
                Err(End::Revoked)
            }
            Err(Error::Unavailable { .. } | Error::Internal { .. }) => {
                self.sure = false;
                self.recheck.reset_after(RETRY);
                Ok(())
            }
            Err(_) => Err(End::SignedOut),
        }
    }

    async fn revoked(&mut self) -> Result<Vec<(Topic, Error)>, Error> {
        self.identity = self.identity.again(&self.web).await?;
        let mut txn = self.identity.begin(&self.web).await?;
        let mut revoked = Vec::new();
        for topic in self.subscriptions.keys().copied() {
            match may_look(&mut txn, &self.identity, topic).await {
                Ok(()) => {}
                Err(error @ (Error::Unavailable { .. } | Error::Internal { .. })) => return Err(error),
                Err(error) => revoked.push((topic, error)),
            }
        }
        txn.commit().await?;
        Ok(revoked)
    }

    async fn ping(&mut self, out: &mut Outgoing) -> Result<(), End> {
        if self.heard.elapsed() > SILENCE {
            return Err(End::Gone);
        }
        self.send(out, Message::Ping(Default::default())).await
    }

    async fn say(&mut self, out: &mut Outgoing, message: ToBrowser) -> Result<(), End> {
        let text = text(Ok(message)).map_err(|_| End::Restart)?;
        self.send(out, Message::Text(text.into())).await
    }

    /// Sends one message and waits until it is on its way. Rights are asked for meanwhile too.
    async fn send(&mut self, out: &mut Outgoing, message: Message) -> Result<(), End> {
        let mut sending = pin!(out.send(message));
        let mut stuck = pin!(sleep(STUCK));
        loop {
            tokio::select! {
                sent = &mut sending => return sent.map_err(|_| End::Gone),
                () = &mut stuck => return Err(End::Gone),
                _ = self.recheck.tick() => self.check(None).await?,
            }
        }
    }
}
