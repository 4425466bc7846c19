//! Bodies of any size pass without being collected, and a slow side holds back only its own other side.

use super::{PATIENCE, Proxy, connect, mirror, on_drop, request, route, upstream};
use crate::environment::EnvironmentState;
use axum::{Router, body::Body, extract::Request, routing::any};
use bytes::Bytes;
use futures::{SinkExt, StreamExt, channel::mpsc, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{Notify, watch},
    time::timeout,
};

const CHUNK: usize = 64 * 1024;

/// Sends back what it gets while it gets it.
fn echo() -> Router {
    Router::new().fallback(any(|request: Request| async { request.into_body() }))
}

fn post<B>(body: B) -> http::Request<B> {
    http::Request::post("/").header("host", "env.localhost").body(body).unwrap()
}

#[tokio::test]
async fn every_chunk_arrives_before_the_next_is_sent() {
    let proxy = Proxy::start().await;
    proxy.route(upstream(echo()).await);
    let (mut send, receive) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(0);
    let mut client = connect(proxy.address).await;
    let response = client.send_request(post(StreamBody::new(receive)));
    send.send(Ok(Frame::data(Bytes::from_static(b"first")))).await.unwrap();
    let mut body = timeout(PATIENCE, response).await.unwrap().unwrap().into_body();
    let next = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(next, "first");
    for round in 0..100 {
        let chunk = Bytes::from(format!("{round:-<1000}"));
        send.send(Ok(Frame::data(chunk.clone()))).await.unwrap();
        let mut received = Vec::new();
        while received.len() < chunk.len() {
            let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
            received.extend_from_slice(&frame.into_data().unwrap());
        }
        assert_eq!(received, chunk);
    }
    drop(send);
    assert!(timeout(PATIENCE, body.frame()).await.unwrap().is_none());
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    const CHUNKS: usize = 1500;
    let proxy = Proxy::start().await;
    proxy.route(upstream(echo()).await);
    let chunk = |index: usize| Bytes::from(vec![(index % 251) as u8; CHUNK]);
    let chunks = stream::iter((0..CHUNKS).map(move |index| Ok::<_, Infallible>(Frame::data(chunk(index)))));
    let mut client = connect(proxy.address).await;
    let mut body = client.send_request(post(StreamBody::new(chunks))).await.unwrap().into_body();
    let mut length = 0;
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.unwrap() {
        let data = frame.unwrap().into_data().unwrap();
        for (offset, byte) in data.iter().enumerate().step_by(1013) {
            assert_eq!(usize::from(*byte), (length + offset) / CHUNK % 251);
        }
        length += data.len();
    }
    assert_eq!(length, CHUNKS * CHUNK);
}

/// Far above what kernel and proxy buffer, far below what is sent.
const BOUND: usize = 32 * 1024 * 1024;
const ALL: usize = 1024 * 1024 * 1024;

/// A body of 1 GiB that counts what was taken of it.
fn counted(count: Arc<AtomicUsize>) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    let chunk = Bytes::from(vec![7; CHUNK]);
    stream::iter(0..ALL / CHUNK).map(move |_| {
        count.fetch_add(CHUNK, Ordering::SeqCst);
        Ok(chunk.clone())
    })
}

/// An upstream that sends without end.
fn endless(count: Arc<AtomicUsize>) -> Router {
    Router::new().fallback(any(move || async move { Body::from_stream(counted(count.clone())) }))
}

/// Somebody else reads through the same proxy, from the route `flowing`, more than the bound of those that are held
/// back. They had the same time: what they did not move meanwhile, they do not move.
async fn others_read(proxy: &Proxy) {
    let mut client = connect(proxy.address).await;
    let answer = client.send_request(request("GET", "flowing.localhost", "/", "")).await.unwrap();
    let (mut body, mut read) = (answer.into_body(), 0);
    while read < 8 * BOUND {
        let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        read += frame.into_data().unwrap().len();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_back_its_upstream_and_nobody_else() {
    let proxy = Proxy::start().await;
    let count = Arc::new(AtomicUsize::new(0));
    proxy.routes.replace(vec![
        route("endless", EnvironmentState::Running, Some(upstream(endless(count.clone())).await)),
        route("flowing", EnvironmentState::Running, Some(upstream(endless(Arc::default())).await)),
        route("other", EnvironmentState::Running, Some(upstream(mirror()).await)),
    ]);
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(proxy.open(request("GET", "endless.localhost", "/", "")).await);
    }
    for _ in 0..20 {
        assert_eq!(proxy.get("other.localhost", "/").await.status(), 200);
    }
    others_read(&proxy).await;
    let taken = count.load(Ordering::SeqCst);
    assert!((CHUNK..3 * BOUND).contains(&taken), "{taken} bytes were read for clients that read nothing");
}

#[tokio::test]
async fn an_upstream_that_does_not_read_holds_back_its_client() {
    let proxy = Proxy::start().await;
    let (release, released) = watch::channel(false);
    let deaf = Router::new().fallback(any(move |request: Request| {
        let mut released = released.clone();
        async move {
            let _unread = request;
            let _ = released.wait_for(|it| *it).await;
        }
    }));
    proxy.routes.replace(vec![
        route("env", EnvironmentState::Running, Some(upstream(deaf).await)),
        route("flowing", EnvironmentState::Running, Some(upstream(endless(Arc::default())).await)),
    ]);
    let count = Arc::new(AtomicUsize::new(0));
    let body = StreamBody::new(counted(count.clone()).map(|chunk| chunk.map(Frame::data)));
    let mut client = connect(proxy.address).await;
    let sending = tokio::spawn(client.send_request(post(body)));
    while count.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    others_read(&proxy).await;
    let taken = count.load(Ordering::SeqCst);
    assert!(taken < BOUND, "{taken} bytes were taken for an upstream that reads nothing");
    // It answers without reading: the response arrives all the same.
    release.send_replace(true);
    let answered = timeout(PATIENCE, sending).await.unwrap().unwrap();
    assert!(answered.is_ok_and(|response| response.status() == 200));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_work_of_its_upstream() {
    let proxy = Proxy::start().await;
    let (begin, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, ended) = (begin.clone(), end.clone());
    let endless = Router::new().fallback(any(move || {
        let (begun, ended) = (begun.clone(), ended.clone());
        async move {
            // Dropped with the handler.
            let _guard = on_drop(move || ended.notify_one());
            begun.notify_one();
            std::future::pending::<()>().await;
        }
    }));
    proxy.route(upstream(endless).await);
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: env.localhost\r\n\r\n").await.unwrap();
    timeout(PATIENCE, begin.notified()).await.unwrap();
    drop(client);
    timeout(PATIENCE, end.notified()).await.unwrap();
}
