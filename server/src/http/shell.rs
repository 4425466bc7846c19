//! A shell on its way through the console: one websocket from whoever types, one to the worker of the environment's
//! machine, and between them the question, again and again, whether they still may.

use super::{Identity, Web, live::RECHECK};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use odooops::{
    Error,
    environment::{
        service::{self, ShellSession},
        shell::{Ended, MAX_MESSAGE, close},
    },
};
use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message as WorkerMessage,
        protocol::{Role, WebSocketConfig},
    },
};

const PING: Duration = Duration::from_secs(20);
/// A browser or command line that was not heard of for this long is gone: it answers pings, even while somebody has
/// stopped its output.
const SILENCE: Duration = Duration::from_secs(300);
/// For so long nobody could be asked whether they still may: then they may not.
const UNSURE: Duration = Duration::from_secs(30);
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why it ended, as a close frame says it.
struct End {
    code: u16,
    reason: Cow<'static, str>,
}

impl From<(u16, &'static str)> for End {
    fn from((code, reason): (u16, &'static str)) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// Writes down the end of a session, even of one whose browser never came.
pub struct Record {
    web: Web,
    session: Option<ShellSession>,
}

impl Record {
    pub fn new(web: Web, session: ShellSession) -> Self {
        Self { web, session: Some(session) }
    }

    pub async fn end(mut self, why: &str, exit_code: Option<i64>) {
        if let Some(session) = self.session.take() {
            write(&self.web, &session, why, exit_code).await;
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let (Some(session), Ok(runtime)) = (self.session.take(), tokio::runtime::Handle::try_current()) {
            let web = self.web.clone();
            runtime.spawn(async move { write(&web, &session, "gone", None).await });
        }
    }
}

async fn write(web: &Web, session: &ShellSession, why: &str, exit_code: Option<i64>) {
    if let Err(error) = session.end(&web.pool, why, exit_code).await {
        tracing::error!(session = %session.id, user = %session.actor.user_id, %error, why,
            "the end of a shell is not in the audit log");
    }
}

/// Carries messages until one side ends, or the right does.
pub async fn carry(
    record: Record,
    web: Web,
    identity: Identity,
    session: ShellSession,
    browser: WebSocket,
    worker: TokioIo<Upgraded>,
) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .write_buffer_size(0);
    let worker = WebSocketStream::from_raw_socket(worker, Role::Client, Some(config)).await;
    let (mut to_browser, from_browser) = browser.split();
    let (mut to_worker, from_worker) = worker.split();
    let heard = Mutex::new(Instant::now());
    let mut exit_code = None;
    // Each way on its own: who waits until the other side has read must be read himself meanwhile.
    let end = tokio::select! {
        end = outward(from_worker, &mut to_browser, &heard, &mut exit_code) => end,
        () = inward(from_browser, &mut to_worker, &heard) => None,
        end = until_revoked(&web, identity, &session) => Some(end),
        () = web.ending.cancelled() => Some(close::RESTART.into()),
    };
    // The worker ends the program when this is gone.
    _ = timeout(LAST_WORDS, to_worker.close()).await;
    let why = end.as_ref().map_or("gone", |end| end.reason.as_ref()).to_owned();
    if let Some(End { code, reason }) = end {
        let reason = Utf8Bytes::from(reason.into_owned());
        let frame = Message::Close(Some(CloseFrame { code, reason }));
        _ = timeout(LAST_WORDS, to_browser.send(frame)).await;
    }
    record.end(&why, exit_code).await;
}

/// From the worker. None: the browser is gone.
async fn outward(
    mut worker: SplitStream<WebSocketStream<TokioIo<Upgraded>>>,
    browser: &mut SplitSink<WebSocket, Message>,
    heard: &Mutex<Instant>,
    exit_code: &mut Option<i64>,
) -> Option<End> {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = worker.next() => match message {
                Some(Ok(WorkerMessage::Binary(bytes))) => Message::Binary(bytes),
                Some(Ok(WorkerMessage::Text(text))) => {
                    *exit_code = serde_json::from_str::<Ended>(&text).ok().and_then(|it| it.exit_code);
                    Message::Text(text.as_str().into())
                }
                Some(Ok(WorkerMessage::Close(Some(frame)))) => {
                    let reason = frame.reason.as_str().to_owned().into();
                    return Some(End { code: frame.code.into(), reason });
                }
                Some(Ok(WorkerMessage::Ping(_) | WorkerMessage::Pong(_) | WorkerMessage::Frame(_))) => continue,
                Some(Ok(WorkerMessage::Close(None)) | Err(_)) | None => return Some(close::LOST.into()),
            },
            _ = ping.tick() => {
                if heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > SILENCE {
                    return None;
                }
                Message::Ping(Bytes::new())
            }
        };
        match timeout(SILENCE, browser.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}

/// To the worker, until the browser is gone.
async fn inward(
    mut browser: SplitStream<WebSocket>,
    worker: &mut SplitSink<WebSocketStream<TokioIo<Upgraded>>, WorkerMessage>,
    heard: &Mutex<Instant>,
) {
    while let Some(Ok(message)) = browser.next().await {
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let message = match message {
            Message::Binary(bytes) => WorkerMessage::Binary(bytes),
            Message::Text(text) => WorkerMessage::Text(text.as_str().into()),
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return,
        };
        if worker.send(message).await.is_err() {
            // What the worker had to say about that, the other way says.
            return std::future::pending().await;
        }
    }
}

/// Returns when somebody's session, token or right has ended.
async fn until_revoked(web: &Web, identity: Identity, session: &ShellSession) -> End {
    let mut recheck = interval_at(Instant::now() + RECHECK, RECHECK);
    recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sure = Instant::now();
    loop {
        recheck.tick().await;
        let asked = async {
            let me = identity.again(web).await?;
            service::may_connect(&web.pool, &me.actor(), session.environment).await
        };
        match timeout(UNSURE, asked).await {
            Ok(Ok(())) => sure = Instant::now(),
            Ok(Err(Error::Unauthenticated)) => return close::SIGNED_OUT.into(),
            Ok(Err(Error::Unavailable { .. } | Error::Internal { .. })) | Err(_) => {
                if sure.elapsed() > UNSURE {
                    return close::REVOKED.into();
                }
            }
            Ok(Err(_)) => return close::REVOKED.into(),
        }
    }
}
