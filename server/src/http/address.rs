//! From where a request came.

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request},
    http::{Extensions, HeaderMap, request::Parts},
    middleware::Next,
    response::Response,
};
use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

/// The address that the request came from: of the TCP connection, or what our proxy says when it brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub Option<IpAddr>);

impl ClientAddress {
    /// On the proxy's socket the last entry of X-Forwarded-For is the proxy's own word; earlier ones are the
    /// client's and count for nothing.
    pub fn told_by_proxy(headers: &HeaderMap) -> Self {
        let last = headers.get_all("x-forwarded-for").iter().next_back();
        let text = last.and_then(|value| value.to_str().ok()).and_then(|text| text.rsplit(',').next());
        Self(text.and_then(|text| text.trim().parse().ok()))
    }

    pub fn of(request: &Extensions) -> Self {
        request.get::<Self>().copied().unwrap_or_else(|| {
            let connection = request.get::<ConnectInfo<SocketAddr>>();
            Self(connection.map(|info| info.0.ip()))
        })
    }
}

pub async fn from_proxy(mut request: Request, next: Next) -> Response {
    let address = ClientAddress::told_by_proxy(request.headers());
    request.extensions_mut().insert(address);
    next.run(request).await
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_the_last_forwarded_address_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(ClientAddress::told_by_proxy(&headers), ClientAddress(None));
        headers.append("x-forwarded-for", HeaderValue::from_static("10.9.9.9, 192.0.2.1"));
        headers.append("x-forwarded-for", HeaderValue::from_static("6.6.6.6, 192.0.2.7"));
        assert_eq!(ClientAddress::told_by_proxy(&headers).0, Some("192.0.2.7".parse().unwrap()));
    }
}
