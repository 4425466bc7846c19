//! Shells, as the worker runs them: a websocket on the private listener, a program in an environment's container, and
//! that program's end when either side is gone.

use super::{
    places::Place,
    private::{Private, failed},
};
use axum::{
    extract::{
        Path, Query, State,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use odooops::{
    docker::{Printed, Resizer, Shell, ShellInput, ShellOutput, ShellSpec},
    environment::{
        self,
        shell::{ERROR, Ended, MAX_MESSAGE, OUTPUT, ShellQuery, ShellRequest, Told, close},
    },
    id::EnvironmentId,
    odoo::launch,
};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Finds out whether the other side is still there while nothing is printed.
const PING: Duration = Duration::from_secs(20);
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How the program's end came about.
enum End {
    /// Of its own accord.
    Program,
    /// Nobody reads any more.
    Gone,
    Idle,
    Restart,
}

pub async fn open(
    State(private): State<Private>,
    Path(environment): Path<EnvironmentId>,
    Query(asked): Query<ShellQuery>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let refused = |error: odooops::Error| {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        failed(status, &error)
    };
    let request = match ShellRequest::try_from(asked) {
        Ok(request) => request,
        Err(error) => return refused(error),
    };
    let Some(place) = private.shells.take(environment) else {
        return (StatusCode::TOO_MANY_REQUESTS, "too many shells\n").into_response();
    };
    let container = async {
        let mut conn = private.pool.acquire().await?;
        environment::query::container(&mut conn, environment).await
    };
    let container = match container.await {
        Ok(container) => container,
        Err(error) => return refused(error),
    };
    let spec = ShellSpec {
        arguments: request.arguments().to_vec(),
        user: launch::owner(),
        terminal: request.terminal().is_some(),
    };
    // In a task of its own: when whoever asked has left meanwhile, the program is there already and must be ended,
    // which dropping the shell does.
    let docker = private.docker.clone();
    let opening = tokio::spawn(async move { docker.open_shell(environment, &container, spec).await });
    let shell = match opening.await {
        Ok(Ok(shell)) => shell,
        Ok(Err(error)) => return failed(StatusCode::CONFLICT, &error),
        Err(error) => return failed(StatusCode::INTERNAL_SERVER_ERROR, &error),
    };
    if let Some(size) = request.terminal() {
        // One that has ended already has no size.
        _ = shell.resizer().resize(size.columns, size.rows).await;
    }
    let (idle, ending) = (private.idle, private.ending.clone());
    let tracked = private.tracker.token();
    upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        // Each message is waited for: a buffer would only grow behind a slow reader.
        .write_buffer_size(0)
        .on_upgrade(move |socket| async move {
            converse(socket, shell, idle, ending, place).await;
            drop(tracked);
        })
}

async fn converse(
    socket: WebSocket,
    mut shell: Shell,
    idle: Duration,
    ending: CancellationToken,
    _place: Place,
) {
    let (mut sender, receiver) = socket.split();
    let (activity, resizer) = (Activity::new(), shell.resizer());
    // Each way on its own: who waits until the other side has read must be read himself meanwhile.
    let end = tokio::select! {
        end = printed(&mut sender, &mut shell.output, &activity) => end,
        () = typed(receiver, &mut shell.input, &resizer, &activity) => End::Gone,
        () = activity.idle_for(idle) => End::Idle,
        () = ending.cancelled() => End::Restart,
    };
    let (code, reason) = match end {
        End::Program | End::Gone => close::DONE,
        End::Idle => close::IDLE,
        End::Restart => close::RESTART,
    };
    if matches!(end, End::Program) {
        let ended = Ended { exit_code: shell.exit_code().await.ok().flatten() };
        let text = serde_json::to_string(&ended).unwrap_or_default();
        _ = timeout(LAST_WORDS, sender.send(Message::Text(text.into()))).await;
    }
    if !matches!(end, End::Gone) {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        _ = timeout(LAST_WORDS, sender.send(Message::Close(Some(frame)))).await;
    }
    shell.close().await;
}

/// From the program to who reads it.
async fn printed(
    sender: &mut SplitSink<WebSocket, Message>,
    output: &mut ShellOutput,
    activity: &Activity,
) -> End {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            printed = output.next() => match printed {
                Some(Ok(printed)) => {
                    activity.note();
                    Message::Binary(framed(printed))
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a shell's output broke off");
                    return End::Program;
                }
                None => return End::Program,
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        if sender.send(message).await.is_err() {
            return End::Gone;
        }
    }
}

/// From who types to the program. Returns when nobody can type any more.
async fn typed(
    mut receiver: SplitStream<WebSocket>,
    input: &mut ShellInput,
    resizer: &Resizer,
    activity: &Activity,
) {
    let mut takes_input = true;
    while let Some(Ok(message)) = receiver.next().await {
        match message {
            Message::Binary(bytes) => {
                activity.note();
                // A program may close its input and go on.
                takes_input = takes_input && input.write(&bytes).await.is_ok();
            }
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(Told::Size(size)) => {
                    let size = size.bounded();
                    _ = resizer.resize(size.columns, size.rows).await;
                }
                Ok(Told::End { end_of_input: true }) => {
                    takes_input = false;
                    _ = input.end().await;
                }
                Ok(Told::End { end_of_input: false }) => {}
                Err(_) => return,
            },
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return,
        }
    }
}

fn framed(printed: Printed) -> Bytes {
    let (channel, bytes) = match printed {
        Printed::Terminal(bytes) => return bytes,
        Printed::Output(bytes) => (OUTPUT, bytes),
        Printed::Error(bytes) => (ERROR, bytes),
    };
    let mut framed = BytesMut::with_capacity(bytes.len() + 1);
    framed.put_u8(channel);
    framed.put(bytes);
    framed.freeze()
}

/// When something was typed or printed last.
struct Activity(Mutex<Instant>);

impl Activity {
    fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn idle_for(&self, span: Duration) {
        loop {
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + span;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}
