//! Traffic of one environment: connections kept, cookies confined, restarts survived.

use super::{PATIENCE, Proxy, Seen, collect, connect, mirror, request, route, text, upstream};
use crate::{
    environment::EnvironmentState,
    proxy::{Limits, Route},
};
use axum::{Router, http::StatusCode, response::AppendHeaders, routing::any};
use bytes::Bytes;
use http_body_util::Full;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{Notify, watch},
};

#[tokio::test]
async fn many_requests_on_one_connection_to_many_hosts() {
    let proxy = Proxy::start().await;
    let (one, two) = (upstream(mirror()).await, upstream(mirror()).await);
    proxy.routes.replace(vec![
        route("one", EnvironmentState::Running, Some(one)),
        route("two", EnvironmentState::Running, Some(two)),
    ]);
    let mut client = connect(proxy.address).await;
    for (host, method) in [("one.localhost", "GET"), ("two.localhost", "POST"), ("one.localhost", "PUT")] {
        client.ready().await.unwrap();
        let response = collect(client.send_request(request(method, host, "/", "body")).await.unwrap()).await;
        let seen = Seen::by(&response);
        assert_eq!((seen.method.as_str(), seen.all("host")), (method, vec![host]));
    }
}

#[tokio::test]
async fn threat_04_cookies_of_an_environment_stay_its_own() {
    let proxy = Proxy::start().await;
    let cookies = [
        ("set-cookie", "session_id=1; Domain=localhost; Path=/; HttpOnly"),
        ("set-cookie", "ops_session=planted; Path=/"),
        ("set-cookie", "lang=en"),
        ("clear-site-data", "\"*\""),
    ];
    proxy.route(upstream(Router::new().fallback(any(move || async move { AppendHeaders(cookies) }))).await);
    let response = proxy.get("env.localhost", "/").await;
    let set: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(set, ["session_id=1; Path=/; HttpOnly", "lang=en"]);
    assert!(!response.headers().contains_key("clear-site-data"));
}

#[tokio::test]
async fn statuses_and_bodies_are_not_touched() {
    let proxy = Proxy::start().await;
    let router = Router::new()
        .route("/gone", any(|| async { (StatusCode::GONE, [("x-odoo", "1")], "gone") }))
        .route(
            "/moved",
            any(|| async { (StatusCode::SEE_OTHER, [("location", "http://env.localhost/web")]) }),
        )
        .route("/none", any(|| async { StatusCode::NO_CONTENT }))
        .route("/not-modified", any(|| async { StatusCode::NOT_MODIFIED }));
    proxy.route(upstream(router).await);
    let response = proxy.get("env.localhost", "/gone").await;
    assert_eq!((response.status().as_u16(), text(&response)), (410, "gone"));
    assert_eq!(response.headers()["x-odoo"], "1");
    let response = proxy.get("env.localhost", "/moved").await;
    assert_eq!(response.headers()["location"], "http://env.localhost/web");
    assert_eq!(proxy.get("env.localhost", "/none").await.status(), 204);
    assert_eq!(proxy.get("env.localhost", "/not-modified").await.status(), 304);
    let head = proxy.send(request("HEAD", "env.localhost", "/gone", "")).await;
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (410, &"4".parse().unwrap()));
}

/// A server that speaks HTTP/1.0 as Odoo's threaded one does: one response, then the connection ends.
async fn http_10(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn http_10_upstreams_do_not_end_the_client_s_connection() {
    let proxy = Proxy::start().await;
    proxy.route(http_10("HTTP/1.0 200 OK\r\nServer: Werkzeug\r\n\r\nuntil the end").await);
    let mut client = connect(proxy.address).await;
    for _ in 0..3 {
        client.ready().await.unwrap();
        let response =
            collect(client.send_request(request("GET", "env.localhost", "/", "")).await.unwrap()).await;
        assert_eq!(text(&response), "until the end");
    }
}

/// An address where nothing listens.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_container_that_restarts_elsewhere_is_found() {
    // Nothing but the change of the route ends the wait.
    let proxy = Proxy::with(Limits { retry_after: PATIENCE, ..Limits::default() }).await;
    let (address, mut requests) = breaks(usize::MAX).await;
    let gone = proxy.route(address);
    let back = upstream(Router::new().fallback(any(|| async { "back" }))).await;
    let waiting = proxy.open(request("GET", "env.localhost", "/", ""));
    let moving = async {
        requests.wait_for(|count| *count == 1).await.unwrap();
        // Other environments' changes are not what it waits for.
        let other = route("other", EnvironmentState::Running, Some(back));
        proxy.routes.replace(vec![gone.clone(), other.clone()]);
        assert_eq!(proxy.get("other.localhost", "/").await.status(), 200);
        proxy.routes.replace(vec![Route { address: Some(back), ..gone }, other]);
    };
    let (response, ()) = tokio::join!(waiting, moving);
    assert_eq!(text(&collect(response).await), "back");
    assert_eq!(*requests.borrow(), 1);
}

#[tokio::test]
async fn what_stays_away_gets_a_page() {
    let proxy = Proxy::with(Limits { retry_after: Duration::from_millis(10), ..Limits::default() }).await;
    proxy.route(closed_port().await);
    for method in ["GET", "POST"] {
        let response = proxy.send(request(method, "env.localhost", "/web", "")).await;
        assert_eq!(response.status(), 502, "{method}");
        assert_eq!(response.headers()["retry-after"], "3");
        assert!(text(&response).contains("Odoo does not answer"));
    }
}

/// Breaks its first connections after the request, then answers. Tells how many requests there were.
async fn breaks(times: usize) -> (SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (count, requests) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await.unwrap();
            count.send_modify(|count| *count += 1);
            if *count.borrow() > times {
                stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nsecond").await.unwrap();
            }
        }
    });
    (address, requests)
}

#[tokio::test]
async fn only_what_does_no_harm_is_tried_twice() {
    for (method, body, status, tries) in [
        ("GET", "", 200, 2),
        ("POST", "order", 502, 1),
        ("POST", "", 502, 1),
        ("GET", "query", 502, 1),
        ("DELETE", "", 502, 1),
    ] {
        let proxy = Proxy::with(Limits { retry_after: Duration::from_millis(10), ..Limits::default() }).await;
        let (address, requests) = breaks(1).await;
        proxy.route(address);
        let response = proxy.send(request(method, "env.localhost", "/", body)).await;
        assert_eq!(response.status(), status, "{method} {body:?}");
        assert_eq!(*requests.borrow(), tries, "{method} {body:?}");
    }
}

#[tokio::test]
async fn a_route_that_changes_takes_effect_on_open_connections() {
    let proxy = Proxy::start().await;
    let known = proxy.route(upstream(Router::new().fallback(any(|| async { "old" }))).await);
    let mut client = connect::<Full<Bytes>>(proxy.address).await;
    let new = upstream(Router::new().fallback(any(|| async { "new" }))).await;
    for (address, expected) in [(known.address, "old"), (Some(new), "new")] {
        proxy.routes.replace(vec![Route { address, ..known.clone() }]);
        client.ready().await.unwrap();
        let response =
            collect(client.send_request(request("GET", "env.localhost", "/", "")).await.unwrap()).await;
        assert_eq!(text(&response), expected);
    }
}

#[tokio::test]
async fn one_environment_cannot_take_all() {
    let proxy = Proxy::with(Limits { requests_per_environment: 1, ..Limits::default() }).await;
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, wait) = (begun.clone(), finish.clone());
    let slow = Router::new().fallback(any(move || {
        let (begin, wait) = (begin.clone(), wait.clone());
        async move {
            begin.notify_one();
            wait.notified().await;
            "done"
        }
    }));
    proxy.routes.replace(vec![
        route("busy", EnvironmentState::Running, Some(upstream(slow).await)),
        route("other", EnvironmentState::Running, Some(upstream(mirror()).await)),
    ]);
    let first = proxy.open(request("GET", "busy.localhost", "/", ""));
    let others = async {
        begun.notified().await;
        let refused = proxy.get("busy.localhost", "/").await;
        assert_eq!(refused.status(), 503);
        assert!(text(&refused).contains("too much to do"));
        assert_eq!(proxy.get("other.localhost", "/").await.status(), 200);
        finish.notify_one();
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(text(&collect(first).await), "done");
    finish.notify_one();
    assert_eq!(proxy.get("busy.localhost", "/").await.status(), 200);
}
