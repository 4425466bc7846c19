//! Bounds, stalls, and the end of the proxy.

use super::{PATIENCE, Proxy, collect, connect, mirror, on_drop, request, upstream};
use crate::proxy::Limits;
use axum::{Router, body::Bytes, routing::any};
use http_body_util::{BodyExt, Full};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};

#[tokio::test]
async fn headers_have_a_bound() {
    let proxy = Proxy::start().await;
    proxy.route(upstream(mirror()).await);
    let large = |size: usize| format!("GET / HTTP/1.1\r\nHost: env.localhost\r\nX: {}\r\n", "x".repeat(size));
    let many =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: env.localhost\r\n{}", "X: 1\r\n".repeat(count));
    for (head, status) in [
        (large(30_000), "200"),
        (large(70_000), "431"),
        (many(90), "200"),
        (many(200), "431"),
        (format!("GET /{} HTTP/1.1\r\nHost: env.localhost\r\n", "x".repeat(70_000)), "4"),
    ] {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        // It may be refused before all of it is written.
        let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await;
        let mut line = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut line)).await.unwrap().unwrap();
        let line = std::str::from_utf8(&line).unwrap();
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{line}");
    }
}

#[tokio::test]
async fn who_does_not_finish_its_headers_is_let_go() {
    let proxy = Proxy::with(Limits { header_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: env.localhost\r\nX:"] {
        let answer = proxy.raw(begun.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{begun:?}: {answer}");
    }
}

#[tokio::test]
async fn who_falls_silent_in_a_body_frees_the_upstream() {
    let limits = Limits { body_idle_timeout: Duration::from_millis(100), ..Limits::default() };
    let proxy = Proxy::with(limits).await;
    let failed = Arc::new(Notify::new());
    let fails = failed.clone();
    let reads = any(move |request: axum::extract::Request| {
        let fails = fails.clone();
        async move {
            if axum::body::to_bytes(request.into_body(), usize::MAX).await.is_err() {
                fails.notify_one();
            }
        }
    });
    proxy.route(upstream(Router::new().fallback(reads)).await);
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: env.localhost\r\nContent-Length: 10\r\n\r\nhalf")
        .await
        .unwrap();
    timeout(PATIENCE, failed.notified()).await.unwrap();
}

#[tokio::test]
async fn who_does_not_take_its_response_is_let_go() {
    let proxy = Proxy::with(Limits { write_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    let given_up = Arc::new(Notify::new());
    let gives_up = given_up.clone();
    let large = any(move || {
        let gives_up = gives_up.clone();
        async move {
            let guard = on_drop(move || gives_up.notify_one());
            let chunk = Bytes::from(vec![7; 1 << 20]);
            let chunks = (0..1024).map(move |_| {
                let _alive = &guard;
                Ok::<_, std::convert::Infallible>(chunk.clone())
            });
            axum::body::Body::from_stream(futures::stream::iter(chunks))
        }
    });
    proxy.route(upstream(Router::new().fallback(large)).await);
    let mut response = proxy.open(request("GET", "env.localhost", "/", "")).await;
    timeout(PATIENCE, given_up.notified()).await.unwrap();
    // It was cut off, not sent whole.
    let mut received = 0;
    let cut = loop {
        match response.body_mut().frame().await {
            Some(Ok(frame)) => received += frame.into_data().unwrap().len(),
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(cut && received < 1 << 30, "{received}");
}

#[tokio::test]
async fn connections_have_a_bound_and_wait_their_turn() {
    let proxy = Proxy::with(Limits { connections: 1, ..Limits::default() }).await;
    proxy.route(upstream(mirror()).await);
    let mut first = connect::<Full<Bytes>>(proxy.address).await;
    let ask = || request("GET", "env.localhost", "/", "");
    assert_eq!(collect(first.send_request(ask()).await.unwrap()).await.status(), 200);
    let second = tokio::spawn({
        let (address, ask) = (proxy.address, ask());
        async move { connect(address).await.send_request(ask).await.unwrap().status() }
    });
    // The first is served on while the second waits.
    for _ in 0..10 {
        first.ready().await.unwrap();
        assert_eq!(collect(first.send_request(ask()).await.unwrap()).await.status(), 200);
    }
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(timeout(PATIENCE, second).await.unwrap().unwrap(), 200);
}

/// A server whose responses wait for `finish`.
fn held() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, finishes) = (begun.clone(), finish.clone());
    let router = Router::new().fallback(any(move || {
        let (begins, finishes) = (begins.clone(), finishes.clone());
        async move {
            begins.notify_one();
            finishes.notified().await;
            "done"
        }
    }));
    (router, begun, finish)
}

#[tokio::test]
async fn a_stop_lets_requests_under_way_finish() {
    let proxy = Proxy::start().await;
    let (router, begun, finish) = held();
    proxy.route(upstream(router).await);
    let address = proxy.address;
    let mut idle = connect::<Full<Bytes>>(address).await;
    let mut client = connect(address).await;
    let under_way = tokio::spawn(async move {
        let response = client.send_request(request("GET", "env.localhost", "/", "")).await.unwrap();
        collect(response).await
    });
    begun.notified().await;
    proxy.stop.cancel();
    // Idle connections end and the port is free, while the request is still under way.
    timeout(PATIENCE, async {
        while idle.ready().await.is_ok() {
            tokio::task::yield_now().await
        }
    })
    .await
    .unwrap();
    timeout(PATIENCE, async { while TcpStream::connect(address).await.is_ok() {} }).await.unwrap();
    assert!(!under_way.is_finished());
    finish.notify_one();
    assert_eq!(under_way.await.unwrap().body(), "done");
    timeout(PATIENCE, proxy.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let proxy = Proxy::with(Limits { drain: Duration::from_millis(100), ..Limits::default() }).await;
    let (router, begun, _finish) = held();
    proxy.route(upstream(router).await);
    let mut client = connect(proxy.address).await;
    let under_way =
        tokio::spawn(async move { client.send_request(request("GET", "env.localhost", "/", "")).await });
    begun.notified().await;
    proxy.stop.cancel();
    timeout(PATIENCE, proxy.served).await.unwrap().unwrap().unwrap();
    assert!(under_way.await.unwrap().is_err());
}
