//! The files that `cargo leptos build` and `public/` left, the same for everybody. A release build puts a compressed
//! copy beside each, which is what browsers then get; a debug build is for the machine it was built on.

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    middleware::map_response,
    response::Response,
};
use std::path::Path;
use tower_http::services::ServeDir;

/// How long a copy is good.
#[derive(Clone, Copy)]
pub enum Kept {
    /// The name changes with the content.
    Forever,
    /// The name stays: after a day the browser asks whether it is still the same.
    ADay,
}

impl Kept {
    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Forever => "public, max-age=31536000, immutable",
            Self::ADay => "public, max-age=86400",
        })
    }
}

pub fn folder(path: &Path, kept: Kept) -> Router {
    let files = ServeDir::new(path).precompressed_br().precompressed_gzip();
    Router::new().fallback_service(files).layer(map_response(move |answer| async move { told(answer, kept) }))
}

/// A file that is not there may be there after the next start: only an answer with content is kept.
fn told(mut answer: Response, kept: Kept) -> Response {
    let status = answer.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, kept.header());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    answer
}
