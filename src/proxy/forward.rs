//! Sends a request to the next hop and brings its response back.

use super::body::{self, Body};
use http::{HeaderMap, Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::Connect};
use std::time::Duration;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no connection: {0}")]
    Unreachable(hyper_util::client::legacy::Error),
    #[error("the connection broke before the response: {0}")]
    Broken(hyper_util::client::legacy::Error),
    #[error("no response in time")]
    Slow,
}

/// What is sent, without its body, so that it can be sent twice.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: Method,
    pub headers: HeaderMap,
}

impl Head {
    /// Whether a second try does no harm: the method says so, and there is no body that the first one used up.
    pub fn is_repeatable(&self, has_body: bool) -> bool {
        !has_body && matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }
}

pub async fn send<C>(
    client: &Client<C, Body>,
    head: Head,
    uri: Uri,
    body: Option<Body>,
    timeout: Duration,
) -> Result<Response<Incoming>, Failure>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let mut request = Request::new(body.unwrap_or_else(body::empty));
    *request.method_mut() = head.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = head.headers;
    match tokio::time::timeout(timeout, client.request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) if error.is_connect() => Err(Failure::Unreachable(error)),
        Ok(Err(error)) => Err(Failure::Broken(error)),
        Err(_) => Err(Failure::Slow),
    }
}
