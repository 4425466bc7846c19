//! What a request and a response may carry from one hop to the next.

use super::cookies;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, EXPECT, FORWARDED, HOST, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};
use ipnet::IpNet;
use std::net::IpAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Meant for one connection only (RFC 9110, 7.6.1, and what older software still sends).
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Only a proxy may say these, and the proxy is us. `Proxy` becomes HTTP_PROXY in a CGI environment (httpoxy),
/// the rewriting headers choose another path than the one that was routed.
const ONLY_OURS: [HeaderName; 12] = [
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("proxy"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    Console,
    Environment,
}

/// Where a request truly comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub client: IpAddr,
    pub host: HeaderValue,
    pub scheme: &'static str,
}

impl Origin {
    /// From the connection; from the headers only where the peer is a trusted proxy, and then only the part that
    /// this proxy wrote itself (the last entry), never what it passed on from its client.
    pub fn of(peer: IpAddr, host: HeaderValue, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let trusts = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
        let peer = peer.to_canonical();
        let mut origin = Self { client: peer, host, scheme: "http" };
        if !trusts(&peer) {
            return origin;
        }
        // From our end: each trusted proxy vouches for the entry before its own.
        for address in entries(headers, &X_FORWARDED_FOR).rev() {
            let Ok(address) = address.parse::<IpAddr>() else { break };
            origin.client = address.to_canonical();
            if !trusts(&origin.client) {
                break;
            }
        }
        if entries(headers, &X_FORWARDED_PROTO).next_back().is_some_and(|it| it.eq_ignore_ascii_case("https"))
        {
            origin.scheme = "https";
        }
        let host = entries(headers, &X_FORWARDED_HOST).next_back().map(HeaderValue::from_str);
        if let Some(Ok(host)) = host {
            origin.host = host;
        }
        origin
    }
}

/// The comma-separated entries of a header, over all its lines.
fn entries<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

/// Whether the client asks for a websocket.
pub fn wants_websocket(headers: &HeaderMap) -> bool {
    entries(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
        && entries(headers, &UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case("websocket"))
}

/// The headers of the request as the next hop gets them.
pub fn outbound(received: &HeaderMap, origin: &Origin, audience: Audience, websocket: bool) -> HeaderMap {
    let mut headers = received.clone();
    remove_hop_by_hop(&mut headers);
    for name in ONLY_OURS {
        headers.remove(name);
    }
    // "100 Continue" was between the client and us.
    headers.remove(EXPECT);
    // WSGI cannot tell `x_forwarded_for` from `x-forwarded-for`; nothing sound sends underscores.
    let ambiguous: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in ambiguous {
        headers.remove(name);
    }
    if audience == Audience::Environment {
        cookies::remove_console_cookies(&mut headers);
    }
    headers.insert(HOST, origin.host.clone());
    headers.insert(X_FORWARDED_HOST, origin.host.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(origin.scheme));
    if let Ok(client) = HeaderValue::from_str(&origin.client.to_string()) {
        headers.insert(X_FORWARDED_FOR, client);
    }
    if websocket {
        set_websocket(&mut headers);
    }
    headers
}

/// The headers of the response as the client gets them.
pub fn inbound(headers: &mut HeaderMap, audience: Audience, websocket: bool) {
    remove_hop_by_hop(headers);
    if audience == Audience::Environment {
        if headers.contains_key(SET_COOKIE) {
            cookies::confine_set_cookies(headers);
        }
        confine_clear_site_data(headers);
    }
    if websocket {
        set_websocket(headers);
    }
}

fn set_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    // Odoo compares the value as it is: in lower case.
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> =
        entries(headers, &CONNECTION).filter_map(|token| HeaderName::try_from(token).ok()).collect();
    for name in HOP_BY_HOP.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// "cookies" clears those of the whole registrable domain, and so the console's session.
fn confine_clear_site_data(headers: &mut HeaderMap) {
    if !headers.contains_key(CLEAR_SITE_DATA) {
        return;
    }
    let kept: Vec<&str> = entries(headers, &CLEAR_SITE_DATA)
        .filter(|directive| matches!(*directive, "\"cache\"" | "\"storage\""))
        .collect();
    let kept = HeaderValue::from_str(&kept.join(", "));
    headers.remove(CLEAR_SITE_DATA);
    if let Ok(kept) = kept
        && !kept.is_empty()
    {
        headers.insert(CLEAR_SITE_DATA, kept);
    }
}

#[cfg(test)]
#[path = "tests/headers.rs"]
mod tests;
