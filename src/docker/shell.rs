//! A program that somebody runs inside an environment's running container, with a terminal or without.
//!
//! The connection to the daemon is our own: bollard's reader takes what a terminal prints for lengths of messages
//! when it begins with certain bytes, and would wait in memory for gigabytes that never come.

use super::{Docker, DockerError, error::chain, session::Session};
use crate::id::EnvironmentId;
use bollard::{exec::CreateExecOptions, query_parameters::ResizeExecOptions};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    net::UnixStream,
    time::{Instant, sleep},
};
use tokio_util::codec::{Decoder, FramedRead};

/// Its processes carry it, so that what a worker left that was killed is known again.
pub(super) const MARK: &str = "OPS_SHELL=1";
const STARTS_WITHIN: Duration = Duration::from_secs(15);
/// The daemon notes an end a moment after the output has ended.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);
const MAX_REFUSAL: usize = 64 << 10;

/// What to run.
#[derive(Debug, Clone)]
pub struct ShellSpec {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// As whom: numbers, so that no image decides.
    pub user: (u32, u32),
    pub terminal: bool,
}

/// What it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Printed {
    Terminal(Bytes),
    Output(Bytes),
    Error(Bytes),
}

/// A program under way. When this is dropped its processes are ended.
pub struct Shell {
    id: String,
    docker: Docker,
    pub output: ShellOutput,
    pub input: ShellInput,
    session: Option<Session>,
}

pub struct ShellOutput(FramedRead<ReadHalf<TokioIo<Upgraded>>, Frames>);

pub struct ShellInput(WriteHalf<TokioIo<Upgraded>>);

/// Sets the size of a terminal.
#[derive(Clone)]
pub struct Resizer {
    id: String,
    docker: Docker,
}

impl Docker {
    /// Starts a program, by its arguments, in an environment's container.
    pub async fn open_shell(
        &self,
        environment: EnvironmentId,
        container: &str,
        spec: ShellSpec,
    ) -> Result<Shell, DockerError> {
        let found = self.container(container).await?;
        // Ours, and this environment's: an id from elsewhere opens nothing.
        let found = found.filter(|found| found.labels.environment == Some(environment));
        let container = found.ok_or_else(|| DockerError::Foreign(format!("container {container}")))?.id;
        let mut env = vec![MARK.to_owned()];
        if spec.terminal {
            env.push("TERM=xterm-256color".to_owned());
        }
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(spec.terminal),
            env: Some(env),
            cmd: Some(spec.arguments),
            user: Some(format!("{}:{}", spec.user.0, spec.user.1)),
            privileged: Some(false),
            ..Default::default()
        };
        let id = self.client.create_exec(&container, options).await?.id;
        let (read, write) = tokio::io::split(TokioIo::new(self.start_exec(&id, spec.terminal).await?));
        let frames = Frames { terminal: spec.terminal, left: 0, is_error: false };
        let session = self.session_of(&id, &container).await?;
        Ok(Shell {
            id,
            docker: self.clone(),
            output: ShellOutput(FramedRead::new(read, frames)),
            input: ShellInput(write),
            session,
        })
    }

    async fn start_exec(&self, id: &str, terminal: bool) -> Result<Upgraded, DockerError> {
        let gone = |error: &dyn std::error::Error| DockerError::Unavailable(chain(error));
        let stream = UnixStream::connect(&self.inner.config.socket).await.map_err(|error| gone(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| gone(&error))?;
        tokio::spawn(connection.with_upgrades());
        let body = serde_json::json!({ "Detach": false, "Tty": terminal }).to_string();
        let request = Request::post(format!("/exec/{id}/start"))
            .header(header::HOST, "docker")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "tcp")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| DockerError::Other(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| gone(&error))?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                hyper::upgrade::on(response).await.map_err(|error| gone(&error))
            }
            status => {
                let body = Limited::new(response.into_body(), MAX_REFUSAL).collect().await;
                let body = body.map(|body| body.to_bytes()).unwrap_or_default();
                let message = String::from_utf8_lossy(&body).into_owned();
                match status {
                    StatusCode::NOT_FOUND => Err(DockerError::NotFound(message)),
                    StatusCode::CONFLICT => Err(DockerError::Conflict(message)),
                    _ => Err(DockerError::Other(format!("{message} ({status})"))),
                }
            }
        }
    }

    /// The processes of what was just started; None when it has ended already, or cannot be seen from here.
    async fn session_of(&self, exec: &str, container: &str) -> Result<Option<Session>, DockerError> {
        let until = Instant::now() + STARTS_WITHIN;
        loop {
            let seen = self.client.inspect_exec(exec).await?;
            if let Some(pid) = seen.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 1) {
                let session = Session::of(pid, container);
                if session.is_none() && seen.running == Some(true) {
                    tracing::warn!(pid, "the processes of a shell cannot be seen from here, nor ended");
                }
                return Ok(session);
            }
            // One that could not be started has an exit code, and says why in its output.
            if seen.exit_code.is_some() {
                return Ok(None);
            }
            if Instant::now() > until {
                return Err(DockerError::Unavailable("the program does not start".to_owned()));
            }
            sleep(LOOK).await;
        }
    }

    /// Ends what runs in our containers from a worker that was killed: nobody reads it any more.
    pub async fn end_abandoned_shells(&self) -> Result<usize, DockerError> {
        let mut ended = 0;
        for container in self.containers().await? {
            let Some(found) = self.inspect(&container.id).await? else { continue };
            for exec in found.exec_ids.unwrap_or_default() {
                let Ok(seen) = self.client.inspect_exec(&exec).await else { continue };
                let pid = seen.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 1);
                let session = pid.and_then(|pid| Session::of(pid, &container.id));
                if let Some(session) = session.filter(|session| session.carries(MARK)) {
                    session.end().await;
                    ended += 1;
                }
            }
        }
        Ok(ended)
    }
}

impl Shell {
    pub fn resizer(&self) -> Resizer {
        Resizer { id: self.id.clone(), docker: self.docker.clone() }
    }

    /// What it ended with, once its output has ended; None when the daemon does not know.
    pub async fn exit_code(&mut self) -> Result<Option<i64>, DockerError> {
        let until = Instant::now() + ENDS_WITHIN;
        loop {
            let seen = self.docker.client.inspect_exec(&self.id).await?;
            if seen.running != Some(true) || Instant::now() > until {
                return Ok(seen.exit_code);
            }
            sleep(LOOK).await;
        }
    }

    /// Ends whatever of it still runs.
    pub async fn close(mut self) {
        if let Some(session) = self.session.take() {
            session.end().await;
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let (Some(session), Ok(runtime)) = (self.session.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(session.end());
        }
    }
}

impl ShellOutput {
    /// None at its end. May be given up and called again: nothing is lost.
    pub async fn next(&mut self) -> Option<io::Result<Printed>> {
        self.0.next().await
    }
}

impl ShellInput {
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// The program reads the end of its input.
    pub async fn end(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

impl Resizer {
    pub async fn resize(&self, columns: u16, rows: u16) -> Result<(), DockerError> {
        let size = ResizeExecOptions { w: i32::from(columns), h: i32::from(rows) };
        Ok(self.docker.client.resize_exec(&self.id, size).await?)
    }
}

/// The daemon's stream: bare bytes with a terminal; else pieces of output or errors, each behind eight bytes that say
/// which and how long. Pieces are passed on as they come, so none is kept whole.
#[derive(Debug)]
struct Frames {
    terminal: bool,
    left: usize,
    is_error: bool,
}

impl Decoder for Frames {
    type Item = Printed;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<Printed>> {
        loop {
            if source.is_empty() {
                return Ok(None);
            }
            if self.terminal {
                return Ok(Some(Printed::Terminal(source.split().freeze())));
            }
            if self.left > 0 {
                let piece = source.split_to(self.left.min(source.len())).freeze();
                self.left -= piece.len();
                return Ok(Some(if self.is_error { Printed::Error(piece) } else { Printed::Output(piece) }));
            }
            let Some((kind, length)) = source
                .split_first_chunk::<8>()
                .map(|(head, _)| (head[0], u32::from_be_bytes([head[4], head[5], head[6], head[7]])))
            else {
                return Ok(None);
            };
            if !(1..=2).contains(&kind) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not what the daemon sends"));
            }
            _ = source.split_to(8);
            self.is_error = kind == 2;
            self.left = length as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(terminal: bool, pieces: &[&[u8]]) -> io::Result<Vec<Printed>> {
        let mut frames = Frames { terminal, left: 0, is_error: false };
        let (mut buffer, mut printed) = (BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(one) = frames.decode(&mut buffer)? {
                printed.push(one);
            }
        }
        Ok(printed)
    }

    #[test]
    fn threat_17_what_a_terminal_prints_is_never_taken_for_a_length() {
        let hostile = b"\x01\0\0\0\xff\xff\xff\xffrest";
        assert_eq!(read(true, &[hostile]).unwrap(), [Printed::Terminal(Bytes::from_static(hostile))]);
        // Even the daemon's own lengths are not waited for in memory.
        let parts = read(false, &[b"\x01\0\0\0\xff\xff\xff\xffa", b"b"]).unwrap();
        assert_eq!(
            parts,
            [Printed::Output(Bytes::from_static(b"a")), Printed::Output(Bytes::from_static(b"b"))]
        );
        assert!(read(false, &[b"\x07\0\0\0\0\0\0\x01x"]).is_err());
    }

    #[test]
    fn output_and_errors_are_told_apart_wherever_the_stream_is_cut() {
        let whole = b"\x01\0\0\0\0\0\0\x02ok\x02\0\0\0\0\0\0\x03bad\x01\0\0\0\0\0\0\0";
        for cut in 0..whole.len() {
            let (mut out, mut bad) = (Vec::new(), Vec::new());
            for printed in read(false, &[&whole[..cut], &whole[cut..]]).unwrap() {
                match printed {
                    Printed::Output(bytes) => out.extend_from_slice(&bytes),
                    Printed::Error(bytes) => bad.extend_from_slice(&bytes),
                    Printed::Terminal(_) => panic!("no terminal"),
                }
            }
            assert_eq!((out.as_slice(), bad.as_slice()), (&b"ok"[..], &b"bad"[..]), "{cut}");
        }
    }
}
