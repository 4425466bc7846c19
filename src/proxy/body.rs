//! Bodies on their way through. Nothing collects them: a frame is read when the other side has taken the one
//! before, which is all the back-pressure there is and all that is needed.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body as _, Incoming};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tower_http::timeout::TimeoutBody;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub fn full(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

/// A client's body; it fails when the client falls silent in the middle of it.
pub fn from_client(body: Incoming, idle: Duration) -> Body {
    if body.is_end_stream() { empty() } else { TimeoutBody::new(idle, body).boxed_unsync() }
}

/// An upstream's body. The slot is held until the last of it is sent or the client is gone.
pub fn from_upstream(body: Incoming, slot: Option<OwnedSemaphorePermit>) -> Body {
    body.map_frame(move |frame| {
        let _held = &slot;
        frame
    })
    .map_err(BoxError::from)
    .boxed_unsync()
}
