//! Websockets: to Odoo in one process, to its event process, to the console; and their end.

use super::{PATIENCE, Proxy, console, request, upstream};
use crate::proxy::Route;
use axum::{
    Router,
    extract::ws::{Message as AxumMessage, WebSocket, WebSocketUpgrade},
    http::HeaderMap,
    routing::{any, get},
};
use futures::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

/// Greets with a name and what it saw, then repeats what it hears.
pub fn echo(name: &'static str) -> Router {
    let talk = move |mut socket: WebSocket, headers: HeaderMap| async move {
        let saw = |header: &str| headers.get(header).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let hello = format!("{name} {} {} {}", saw("upgrade"), saw("x-forwarded-host"), saw("cookie"));
        socket.send(AxumMessage::Text(hello.into())).await.unwrap();
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, AxumMessage::Text(_) | AxumMessage::Binary(_))
                && socket.send(message).await.is_err()
            {
                break;
            }
        }
    };
    let accept = move |headers: HeaderMap, upgrade: WebSocketUpgrade| async move {
        upgrade.max_message_size(64 << 20).on_upgrade(move |socket| talk(socket, headers))
    };
    Router::new()
        .route("/websocket", get(accept))
        .route("/live", get(accept))
        .route("/websocket/health", get(move || async move { name }))
        .fallback(any(move || async move { name }))
}

pub async fn open(proxy: &Proxy, host: &str, path: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("upgrade", "WebSocket".parse().unwrap());
    headers.insert("cookie", "session_id=o; ops_session=s".parse().unwrap());
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    Ok(timeout(PATIENCE, client_async(request, stream)).await.unwrap()?.0)
}

pub async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<Result<Message, Error>> {
    timeout(PATIENCE, socket.next()).await.unwrap()
}

#[tokio::test]
async fn messages_pass_both_ways() {
    let proxy = Proxy::start().await;
    proxy.route(upstream(echo("odoo")).await);
    let mut socket = open(&proxy, "env.localhost", "/websocket").await.unwrap();
    let hello = next(&mut socket).await.unwrap().unwrap();
    assert_eq!(hello.to_text().unwrap(), "odoo websocket env.localhost session_id=o");
    for message in [
        Message::text("one"),
        Message::binary(vec![0, 255, 7]),
        // Many times what any buffer on the way holds.
        Message::binary(vec![7; 8 << 20]),
        Message::text("last"),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert!(next(&mut socket).await.unwrap().unwrap() == message);
    }
    socket.close(None).await.unwrap();
    assert!(matches!(next(&mut socket).await, None | Some(Ok(Message::Close(_)))));
}

#[tokio::test]
async fn the_event_process_gets_websockets_only_when_there_is_one() {
    let proxy = Proxy::start().await;
    let (http, event) = (upstream(echo("http")).await, upstream(echo("event")).await);
    let route = proxy.route(http);
    for (websocket_port, expected) in [(None, "http"), (Some(event.port()), "event")] {
        proxy.routes.replace(vec![Route { websocket_port, ..route.clone() }]);
        let mut socket = open(&proxy, "env.localhost", "/websocket").await.unwrap();
        let hello = next(&mut socket).await.unwrap().unwrap();
        assert!(hello.to_text().unwrap().starts_with(expected), "{hello}");
        for (path, expected) in [
            ("/websocket/health", expected),
            ("/longpolling/poll", expected),
            ("/websockets", "http"),
            ("/web", "http"),
        ] {
            assert_eq!(super::text(&proxy.get("env.localhost", path).await), expected, "{path}");
        }
    }
}

#[tokio::test]
async fn the_console_s_too() {
    let proxy = Proxy::start().await;
    console(proxy.folder.path().join("serve.sock"), echo("console"));
    let mut socket = open(&proxy, "localhost:3000", "/live").await.unwrap();
    let hello = next(&mut socket).await.unwrap().unwrap();
    assert_eq!(hello.to_text().unwrap(), "console websocket localhost:3000 session_id=o; ops_session=s");
}

#[tokio::test]
async fn refusals_are_passed_on_as_they_are() {
    let proxy = Proxy::start().await;
    let refuses =
        Router::new().fallback(any(|| async { (axum::http::StatusCode::FORBIDDEN, "foreign origin") }));
    proxy.route(upstream(refuses).await);
    let Err(Error::Http(response)) = open(&proxy, "env.localhost", "/websocket").await else {
        panic!("accepted")
    };
    assert_eq!(response.status(), 403);
    let Err(Error::Http(response)) = open(&proxy, "none.localhost", "/websocket").await else {
        panic!("accepted")
    };
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn an_upstream_that_switches_unasked_is_not_followed() {
    let proxy = Proxy::start().await;
    let switches = Router::new().fallback(any(|| async {
        (axum::http::StatusCode::SWITCHING_PROTOCOLS, [("upgrade", "websocket")])
    }));
    proxy.route(upstream(switches).await);
    assert_eq!(proxy.send(request("POST", "env.localhost", "/", "")).await.status(), 502);
}

#[tokio::test]
async fn either_side_s_end_ends_the_other() {
    let proxy = Proxy::start().await;
    let closes = |upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(|socket| async { drop(socket) }) };
    proxy.route(upstream(Router::new().route("/websocket", get(closes))).await);
    let mut socket = open(&proxy, "env.localhost", "/websocket").await.unwrap();
    while next(&mut socket).await.is_some_and(|message| message.is_ok()) {}
}

#[tokio::test]
async fn a_stop_ends_them_at_once() {
    let proxy = Proxy::start().await;
    proxy.route(upstream(echo("odoo")).await);
    let mut socket = open(&proxy, "env.localhost", "/websocket").await.unwrap();
    next(&mut socket).await.unwrap().unwrap();
    proxy.stop.cancel();
    assert!(next(&mut socket).await.is_none_or(|message| message.is_err()));
    timeout(PATIENCE, proxy.served).await.unwrap().unwrap().unwrap();
}
