//! The table of header rules.

use super::{Audience, Origin, inbound, outbound, wants_websocket};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use std::net::IpAddr;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect()
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8(value.as_bytes().to_vec()).unwrap()))
        .collect();
    pairs.sort();
    pairs
}

fn origin(peer: &str, received: &[(&str, &str)], trusted: &[&str]) -> (String, String, &'static str) {
    let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
    let origin = Origin::of(
        peer.parse().unwrap(),
        HeaderValue::from_static("env.localhost"),
        &headers(received),
        &trusted,
    );
    (origin.client.to_string(), origin.host.to_str().unwrap().to_owned(), origin.scheme)
}

const CLAIMS: [(&str, &str); 3] =
    [("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-host", "evil"), ("x-forwarded-proto", "https")];

#[test]
fn a_client_says_nothing_about_its_origin() {
    for trusted in [&[][..], &["10.0.0.0/8"], &["::/0"]] {
        assert_eq!(
            origin("9.9.9.9", &CLAIMS, trusted),
            ("9.9.9.9".to_owned(), "env.localhost".to_owned(), "http"),
            "{trusted:?}"
        );
    }
}

#[test]
fn a_trusted_proxy_is_believed_and_its_client_is_not() {
    let trusted = ["10.0.0.0/8"];
    let client = |received: &[(&str, &str)]| origin("10.0.0.1", received, &trusted).0;
    assert_eq!(origin("10.0.0.1", &CLAIMS, &trusted), ("2.2.2.2".to_owned(), "evil".to_owned(), "https"));
    assert_eq!(client(&[]), "10.0.0.1");
    assert_eq!(client(&[("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.0.0.7")]), "2.2.2.2");
    assert_eq!(client(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]), "2.2.2.2");
    assert_eq!(client(&[("x-forwarded-for", "1.1.1.1, junk")]), "10.0.0.1");
    assert_eq!(client(&[("x-forwarded-for", "10.0.0.3, 10.0.0.2")]), "10.0.0.3");
    assert_eq!(client(&[("x-forwarded-for", "::ffff:2.2.2.2")]), "2.2.2.2");
    assert_eq!(origin("::ffff:10.0.0.1", &CLAIMS, &trusted).0, "2.2.2.2");
    assert_eq!(origin("10.0.0.1", &[("x-forwarded-proto", "https, http")], &trusted).2, "http");
    assert_eq!(origin("10.0.0.1", &[("x-forwarded-proto", "javascript")], &trusted).2, "http");
    assert_eq!(origin("10.0.0.1", &[("x-forwarded-host", "evil, real")], &trusted).1, "real");
}

#[test]
fn requests() {
    let origin = Origin {
        client: IpAddr::from([9, 9, 9, 9]),
        host: HeaderValue::from_static("Env.localhost:3000"),
        scheme: "http",
    };
    for (received, audience, kept) in [
        (vec![("accept", "*/*")], Audience::Environment, vec![("accept", "*/*")]),
        (CLAIMS.to_vec(), Audience::Environment, vec![]),
        (CLAIMS.to_vec(), Audience::Console, vec![]),
        (vec![("forwarded", "for=1.1.1.1"), ("x-real-ip", "1.1.1.1")], Audience::Console, vec![]),
        (vec![("x_forwarded_for", "1.1.1.1"), ("x_forwarded-host", "evil")], Audience::Environment, vec![]),
        (vec![("proxy", "http://evil"), ("x-original-url", "/web/database")], Audience::Environment, vec![]),
        (
            vec![
                ("connection", "keep-alive, X-Secret, upgrade"),
                ("x-secret", "1"),
                ("keep-alive", "timeout=5"),
            ],
            Audience::Environment,
            vec![],
        ),
        (
            vec![("upgrade", "h2c"), ("te", "trailers"), ("transfer-encoding", "chunked")],
            Audience::Console,
            vec![],
        ),
        (vec![("proxy-authorization", "Basic x"), ("expect", "100-continue")], Audience::Console, vec![]),
        (vec![("authorization", "Bearer x")], Audience::Environment, vec![("authorization", "Bearer x")]),
        (vec![("cookie", "a=1; ops_session=s")], Audience::Environment, vec![("cookie", "a=1")]),
        (vec![("cookie", "a=1; ops_session=s")], Audience::Console, vec![("cookie", "a=1; ops_session=s")]),
        (
            vec![("origin", "http://env.localhost:3000")],
            Audience::Environment,
            vec![("origin", "http://env.localhost:3000")],
        ),
    ] {
        let mut received_and_host = received.clone();
        received_and_host.push(("host", "what-the-client-sent"));
        let mut expected = headers(&kept);
        expected.extend(headers(&[
            ("host", "Env.localhost:3000"),
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-host", "Env.localhost:3000"),
            ("x-forwarded-proto", "http"),
        ]));
        let forwarded = outbound(&headers(&received_and_host), &origin, audience, false);
        assert_eq!(pairs(&forwarded), pairs(&expected), "{received:?}");
    }
}

#[test]
fn websockets_keep_their_upgrade_and_only_that() {
    let received = headers(&[
        ("connection", "keep-alive, Upgrade, X-Secret"),
        ("upgrade", "WebSocket"),
        ("x-secret", "1"),
        ("sec-websocket-key", "k"),
    ]);
    assert!(wants_websocket(&received));
    let origin =
        Origin { client: IpAddr::from([9, 9, 9, 9]), host: HeaderValue::from_static("h"), scheme: "http" };
    let forwarded = outbound(&received, &origin, Audience::Environment, true);
    assert_eq!(forwarded["connection"], "Upgrade");
    assert_eq!(forwarded["upgrade"], "websocket");
    assert_eq!(forwarded["sec-websocket-key"], "k");
    assert!(!forwarded.contains_key("x-secret"));

    for received in [
        &[("upgrade", "websocket")][..],
        &[("connection", "upgrade")],
        &[("connection", "upgrade"), ("upgrade", "h2c")],
        &[("connection", "close"), ("upgrade", "websocket")],
    ] {
        assert!(!wants_websocket(&headers(received)), "{received:?}");
    }
}

#[test]
fn responses() {
    for (sent, audience, received) in [
        (
            vec![("connection", "close, x-internal"), ("x-internal", "1"), ("transfer-encoding", "chunked")],
            Audience::Environment,
            vec![],
        ),
        (vec![("set-cookie", "a=1; Domain=localhost")], Audience::Environment, vec![("set-cookie", "a=1")]),
        (vec![("set-cookie", "a=1; Domain=x")], Audience::Console, vec![("set-cookie", "a=1; Domain=x")]),
        (vec![("clear-site-data", "\"cookies\"")], Audience::Environment, vec![]),
        (vec![("clear-site-data", "\"*\"")], Audience::Environment, vec![]),
        (
            vec![("clear-site-data", "\"cache\", \"cookies\",\"storage\"")],
            Audience::Environment,
            vec![("clear-site-data", "\"cache\", \"storage\"")],
        ),
        (vec![("clear-site-data", "\"*\"")], Audience::Console, vec![("clear-site-data", "\"*\"")]),
        (vec![("x-frame-options", "DENY")], Audience::Environment, vec![("x-frame-options", "DENY")]),
    ] {
        let mut headers_sent = headers(&sent);
        inbound(&mut headers_sent, audience, false);
        assert_eq!(pairs(&headers_sent), pairs(&headers(&received)), "{sent:?}");
    }
}
