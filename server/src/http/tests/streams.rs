//! What the API streams, through a real connection, and the command line's client on it.

use super::Fixture;
use crate::cli::Client;
use futures::{StreamExt, TryStreamExt};
use odooops::{log::LogLine, run::RunStatus, run::RunView};
use std::time::Duration;
use tokio::{net::UnixListener, time::timeout};

const SOON: Duration = Duration::from_secs(20);

/// The socket's door, served as `ops serve` does, with live changes heard.
pub async fn served(f: &Fixture) -> Client {
    let path = f.web.config.ops_socket();
    let listener = UnixListener::bind(&path).unwrap();
    let router = f.socket.clone();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let web = f.web.clone();
    let mut heard = web.live.changes();
    tokio::spawn(async move { web.live.listen(&web.pool, &web.ending).await });
    timeout(SOON, heard.recv()).await.expect("the listener connects").unwrap();
    Client::local(&path).unwrap()
}

#[tokio::test]
async fn a_followed_log_is_complete_in_order_and_ends_with_the_run() {
    let f = Fixture::new().await;
    let client = served(&f).await;
    let lease = f.start_run().await;
    let first: Vec<_> = (1..=2500).map(|n| format!("line {n}")).collect();
    f.log(lease, &first).await;
    let path = format!("/runs/{}/logs?follow=true", f.run);
    let mut lines = client.lines::<LogLine>(&path).await.unwrap();
    for n in 1..=2500 {
        let line = timeout(SOON, lines.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((line.seq, line.message), (n, format!("line {n}")));
    }
    f.log(lease, &["after".to_owned()]).await;
    let line = timeout(SOON, lines.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((line.seq, line.message.as_str()), (2501, "after"));
    f.log(lease, &["last".to_owned()]).await;
    f.finish_run(lease, "succeeded").await;
    let rest: Vec<LogLine> = timeout(SOON, lines.try_collect()).await.unwrap().unwrap();
    assert_eq!(rest.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["last"]);

    let path = format!("/runs/{}/logs?after=2500", f.run);
    let lines: Vec<LogLine> = client.lines(&path).await.unwrap().try_collect().await.unwrap();
    assert_eq!(lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [2501, 2502]);
}

#[tokio::test]
async fn a_watched_run_is_told_at_once_at_every_change_and_at_its_end() {
    let f = Fixture::new().await;
    let client = served(&f).await;
    let mut views = client.lines::<RunView>(&format!("/runs/{}/watch", f.run)).await.unwrap();
    let mut next = async || timeout(SOON, views.next()).await.unwrap().map(|view| view.unwrap().status);
    assert_eq!(next().await, Some(RunStatus::Queued));
    let lease = f.start_run().await;
    let mut status = next().await;
    while status == Some(RunStatus::Claimed) {
        status = next().await;
    }
    assert_eq!(status, Some(RunStatus::Running));
    f.finish_run(lease, "warning").await;
    assert_eq!(next().await, Some(RunStatus::Warning));
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn a_stream_breaks_off_when_the_server_ends_so_that_nobody_takes_it_for_complete() {
    let f = Fixture::new().await;
    let client = served(&f).await;
    let lease = f.start_run().await;
    f.log(lease, &["one".to_owned()]).await;
    let mut lines = client.lines::<LogLine>(&format!("/runs/{}/logs?follow=true", f.run)).await.unwrap();
    assert_eq!(timeout(SOON, lines.next()).await.unwrap().unwrap().unwrap().seq, 1);
    f.web.ending.cancel();
    assert!(timeout(SOON, lines.next()).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_socket_that_nobody_serves_is_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::local(&dir.path().join("ops.sock")).unwrap();
    let error = client.login_link().await.err().unwrap().to_string();
    assert!(error.contains("ops.sock does not answer") && error.contains("ops up"), "{error}");
}
