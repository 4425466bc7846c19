//! `ops env shell`: a program in an environment, as if it ran here.

use super::{
    CliError, Client,
    terminal::{self, Raw},
};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use odooops::{
    environment::shell::{ERROR, Ended, MAX_MESSAGE, OUTPUT, ShellRequest, Told, close},
    id::EnvironmentId,
};
use reqwest::Upgraded;
use std::{process::ExitCode, time::Duration};
use tokio::{
    io::{AsyncWriteExt, Stderr, Stdout},
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};

/// When the program's own code is not known; what ssh ends with then, too.
const UNKNOWN: u8 = 255;
const LAST_WORDS: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<Upgraded>;

/// How it ended.
enum End {
    Code(u8),
    /// From the other side, for a reason.
    Closed(u16),
    Broken,
    /// We were told to end.
    Signal(i32),
}

pub async fn run(
    client: &Client,
    environment: EnvironmentId,
    command: Vec<String>,
) -> Result<ExitCode, CliError> {
    let mut signals = Signals::new().map_err(CliError::Terminal)?;
    let has_terminal = Raw::enter()?;
    let size = has_terminal.as_ref().map(|_| terminal::size());
    let request = ShellRequest::new(command, size);
    let request = request.map_err(|error| CliError::Refused(Box::new((&error).into())))?;
    let query =
        serde_urlencoded::to_string(request.query()).map_err(|_| CliError::Usage("no such command"))?;
    let path = format!("/environments/{environment}/shell?{query}");
    let opened = client.upgrade(&path);
    let upgraded = tokio::select! {
        upgraded = opened => upgraded?,
        number = signals.end() => return Ok(ended_by(number)),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE + 1))
        .max_frame_size(Some(MAX_MESSAGE + 1))
        .write_buffer_size(0);
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
    let (mut to, from) = socket.split();
    let mut resized = signal(SignalKind::window_change()).map_err(CliError::Terminal)?;
    let end = {
        let mut screen = Screen::new(has_terminal.is_some());
        let printed = printed(from, &mut screen);
        let typed = typed(&mut to, has_terminal.is_some(), &mut resized);
        tokio::select! {
            end = printed => end,
            () = typed => End::Broken,
            number = signals.end() => End::Signal(number),
        }
    };
    _ = timeout(LAST_WORDS, to.close()).await;
    drop(has_terminal);
    Ok(match end {
        End::Code(code) => ExitCode::from(code),
        End::Signal(number) => ended_by(number),
        End::Broken => said("The connection to the shell broke off."),
        End::Closed(code) => said(match code {
            code if code == close::IDLE.0 => "The shell was ended: nothing happened in it for too long.",
            code if code == close::SIGNED_OUT.0 => "The shell was ended: your token is not valid any more.",
            code if code == close::REVOKED.0 => {
                "The shell was ended: you may not be in this environment any more."
            }
            code if code == close::RESTART.0 => "The shell was ended: the platform restarts.",
            code if code == close::LOST.0 => {
                "The shell was ended: the worker of the environment does not answer."
            }
            _ => "The shell was ended.",
        }),
    })
}

fn said(why: &str) -> ExitCode {
    eprintln!("ops: {why}");
    ExitCode::from(UNKNOWN)
}

fn ended_by(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(UNKNOWN))
}

/// What would end us without giving the terminal back. In a raw terminal Ctrl-C is a byte like others.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn end(&mut self) -> i32 {
        tokio::select! {
            _ = self.hangup.recv() => SignalKind::hangup().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
        }
    }
}

struct Screen {
    terminal: bool,
    out: Stdout,
    error: Stderr,
}

impl Screen {
    fn new(terminal: bool) -> Self {
        Self { terminal, out: tokio::io::stdout(), error: tokio::io::stderr() }
    }

    async fn print(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let (channel, bytes) = match (self.terminal, bytes.split_first()) {
            (true, _) => (OUTPUT, bytes),
            (false, Some((channel, bytes))) => (*channel, bytes),
            (false, None) => return Ok(()),
        };
        if channel == ERROR {
            self.error.write_all(bytes).await?;
            self.error.flush().await
        } else {
            self.out.write_all(bytes).await?;
            self.out.flush().await
        }
    }
}

async fn printed(mut from: SplitStream<Socket>, screen: &mut Screen) -> End {
    let mut code = None;
    loop {
        match from.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                if screen.print(&bytes).await.is_err() {
                    // Nobody reads any more, as in `| head`.
                    return ended_quietly();
                }
            }
            Some(Ok(Message::Text(text))) => {
                code = serde_json::from_str::<Ended>(&text).ok().and_then(|ended| ended.exit_code);
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(frame))) => {
                let closed = frame.map_or(close::DONE.0, |frame| frame.code.into());
                return match code {
                    Some(code) => End::Code(u8::try_from(code).unwrap_or(UNKNOWN)),
                    None => End::Closed(closed),
                };
            }
            Some(Err(_)) | None => {
                return code.map_or(End::Broken, |code| End::Code(u8::try_from(code).unwrap_or(UNKNOWN)));
            }
        }
    }
}

fn ended_quietly() -> End {
    End::Signal(nix::sys::signal::Signal::SIGPIPE as i32)
}

async fn typed(to: &mut SplitSink<Socket, Message>, has_terminal: bool, resized: &mut Signal) {
    let mut input: Option<mpsc::Receiver<Vec<u8>>> = Some(terminal::typed());
    loop {
        let message = tokio::select! {
            bytes = async { match &mut input { Some(input) => input.recv().await, None => std::future::pending().await } } => {
                match bytes {
                    Some(bytes) => Message::binary(bytes),
                    None => {
                        input = None;
                        told(Told::End { end_of_input: true })
                    }
                }
            },
            _ = resized.recv(), if has_terminal => told(Told::Size(terminal::size())),
        };
        if to.send(message).await.is_err() {
            // What there is to say about that, the other way says.
            return std::future::pending().await;
        }
    }
}

fn told(what: Told) -> Message {
    Message::text(serde_json::to_string(&what).unwrap_or_default())
}
