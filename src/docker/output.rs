//! A container's output as the daemon gives it, frame by frame.
//!
//! The daemon sends each line as a piece of its own. A client that hands every piece from the task of its connection
//! to the task that reads wakes a thread for each line, which costs more than everything else that is done with the
//! line. Here whoever reads drives the connection itself.

use super::{Docker, DockerError};
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, future::Either};
use http_body_util::Empty;
use hyper::{
    Request,
    body::{Body, Incoming},
    client::conn::http1::{Connection, SendRequest, handshake},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};
use tokio::{net::UnixStream, time::timeout};

/// Stream, three bytes of nothing, length.
const HEADER: usize = 8;
/// Larger than what any log driver makes of a line.
const LARGEST: usize = 16 * 1024 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub struct OutputFrame {
    pub stderr: bool,
    /// The daemon's time, a space, and what was printed.
    pub payload: Bytes,
}

type Http = Connection<TokioIo<UnixStream>, Empty<Bytes>>;

pub struct Output {
    connection: Option<Pin<Box<Http>>>,
    body: Incoming,
    frames: Frames,
    _sender: SendRequest<Empty<Bytes>>,
}

impl Docker {
    /// The container's log with times, from a second since 1970 on; to its end, or as it grows.
    pub async fn output(&self, container: &str, since: i64, follow: bool) -> Result<Output, DockerError> {
        self.asked_output(container, &format!("since={since}&follow={}", u8::from(follow))).await
    }

    /// The newest line of the container's log.
    pub async fn newest_output(&self, container: &str) -> Result<Output, DockerError> {
        self.asked_output(container, "tail=1").await
    }

    async fn asked_output(&self, container: &str, part: &str) -> Result<Output, DockerError> {
        if container.is_empty()
            || !container.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        {
            return Err(DockerError::NotFound(container.to_owned()));
        }
        timeout(super::ANSWER_TIMEOUT, self.ask_for_output(container, part))
            .await
            .map_err(|_| DockerError::Unavailable("timeout".to_owned()))?
    }

    async fn ask_for_output(&self, container: &str, part: &str) -> Result<Output, DockerError> {
        let version = self.client.client_version();
        let path = format!(
            "/v{}.{}/containers/{container}/logs?stdout=1&stderr=1&timestamps=1&{part}",
            version.major_version, version.minor_version
        );
        let request = Request::get(path).header(HOST, "docker").body(Empty::new());
        let request = request.map_err(|error| DockerError::Other(error.to_string()))?;
        let socket = UnixStream::connect(&self.inner.config.socket).await.map_err(away)?;
        let (mut sender, connection) = handshake(TokioIo::new(socket)).await.map_err(away)?;
        let mut connection = Box::pin(connection);
        let (answer, ended) =
            match futures::future::select(pin!(sender.send_request(request)), connection.as_mut()).await {
                Either::Left((answer, _)) => (answer.map_err(away)?, false),
                // It may end with the answer.
                Either::Right((Ok(()), answer)) => (answer.await.map_err(away)?, true),
                Either::Right((Err(error), _)) => return Err(away(error)),
            };
        let status = answer.status();
        let connection = (!ended).then_some(connection);
        let mut output =
            Output { connection, body: answer.into_body(), frames: Frames::default(), _sender: sender };
        if status.is_success() {
            return Ok(output);
        }
        let said = output.refusal().await;
        Err(match status.as_u16() {
            404 => DockerError::NotFound(said),
            409 => DockerError::Conflict(said),
            status => DockerError::Other(format!("{said} ({status})")),
        })
    }
}

/// The error and what it came from, which hyper keeps apart.
fn away(error: impl std::error::Error) -> DockerError {
    DockerError::Unavailable(super::error::chain(&error))
}

impl Output {
    /// The beginning of what the daemon says in place of a log.
    async fn refusal(&mut self) -> String {
        let mut said = Vec::new();
        while said.len() < 1000 {
            match std::future::poll_fn(|cx| self.poll_data(cx)).await {
                Some(Ok(data)) => said.extend_from_slice(&data),
                _ => break,
            }
        }
        String::from_utf8_lossy(&said).trim().chars().take(200).collect()
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, DockerError>>> {
        loop {
            let mut next = Pin::new(&mut self.body).poll_frame(cx);
            if next.is_pending()
                && let Some(connection) = &mut self.connection
            {
                // Reads on; what it read is for the body.
                if connection.as_mut().poll(cx).is_ready() {
                    self.connection = None;
                }
                next = Pin::new(&mut self.body).poll_frame(cx);
            }
            match ready!(next) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    // Trailers.
                    Err(_) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(away(error)))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Stream for Output {
    type Item = Result<OutputFrame, DockerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.frames.next() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            match ready!(self.poll_data(cx)) {
                Some(Ok(data)) => self.frames.push(data),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if self.frames.rest.is_empty() => return Poll::Ready(None),
                None => {
                    self.frames.rest.clear();
                    return Poll::Ready(Some(Err(DockerError::Unavailable("the log broke off".to_owned()))));
                }
            }
        }
    }
}

/// Frames out of data in pieces of any size.
#[derive(Default)]
struct Frames {
    rest: Bytes,
}

impl Frames {
    fn push(&mut self, data: Bytes) {
        if self.rest.is_empty() {
            self.rest = data;
        } else {
            let mut joined = BytesMut::with_capacity(self.rest.len() + data.len());
            joined.extend_from_slice(&self.rest);
            joined.extend_from_slice(&data);
            self.rest = joined.freeze();
        }
    }

    fn next(&mut self) -> Result<Option<OutputFrame>, DockerError> {
        let Some(header) = self.rest.first_chunk::<HEADER>() else { return Ok(None) };
        let stderr = match header {
            [1, 0, 0, 0, ..] => false,
            [2, 0, 0, 0, ..] => true,
            // A message of the daemon's in place of the log.
            _ => {
                let said = String::from_utf8_lossy(&self.rest).trim().chars().take(200).collect();
                self.rest.clear();
                return Err(DockerError::Unavailable(said));
            }
        };
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if length > LARGEST {
            return Err(DockerError::Other(format!("a frame of {length} bytes")));
        }
        if self.rest.len() < HEADER + length {
            return Ok(None);
        }
        self.rest.advance(HEADER);
        Ok(Some(OutputFrame { stderr, payload: self.rest.split_to(length) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_are_the_same_however_they_are_cut(
            frames in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..50)), 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut bytes = Vec::new();
            for (stderr, payload) in &frames {
                bytes.extend([1 + u8::from(*stderr), 0, 0, 0]);
                bytes.extend((payload.len() as u32).to_be_bytes());
                bytes.extend(payload);
            }
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let (mut reader, mut found) = (Frames::default(), Vec::new());
            for pair in cuts.windows(2) {
                reader.push(Bytes::copy_from_slice(&bytes[pair[0]..pair[1]]));
                while let Some(frame) = reader.next().unwrap() {
                    found.push((frame.stderr, frame.payload.to_vec()));
                }
            }
            prop_assert!(reader.rest.is_empty());
            prop_assert_eq!(found, frames);
        }
    }

    #[test]
    fn what_is_no_frame_is_told() {
        let mut frames = Frames::default();
        frames.push(Bytes::from_static(b"Error response: no\n"));
        assert!(matches!(frames.next(), Err(DockerError::Unavailable(said)) if said == "Error response: no"));
        frames.push(Bytes::from_static(&[1, 0, 0, 0, 0xff, 0, 0, 0]));
        assert!(matches!(frames.next(), Err(DockerError::Other(_))));
    }
}
