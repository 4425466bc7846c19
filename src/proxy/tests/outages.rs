//! What goes on while the console is down.

use super::{Proxy, console, mirror, request, text, upstream};
use axum::{Router, routing::any};
use http::Method;

#[tokio::test]
async fn the_console_may_come_and_go() {
    let proxy = Proxy::start().await;
    proxy.route(upstream(mirror()).await);
    let socket = proxy.folder.path().join("serve.sock");
    for life in 0..3 {
        let response = proxy.get("localhost:3000", "/").await;
        assert_eq!(response.status(), 503, "life {life}");
        assert_eq!(response.headers()["retry-after"], "2");
        assert!(text(&response).contains("<h1>The console is restarting</h1>"));
        assert!(text(&response).contains("http-equiv=\"refresh\" content=\"2\""));
        assert_eq!(proxy.get("env.localhost", "/").await.status(), 200);

        let serving = console(socket.clone(), Router::new().fallback(any(|| async { "console" })));
        for _ in 0..3 {
            assert_eq!(text(&proxy.get("localhost:3000", "/").await), "console");
        }
        serving.abort();
        // What a killed process leaves behind: a socket that nobody listens on.
        assert!(serving.await.unwrap_err().is_cancelled());
        if life == 1 {
            assert_eq!(proxy.get("localhost:3000", "/").await.status(), 503, "the stale socket refuses");
        }
        std::fs::remove_file(&socket).unwrap();
    }
}

#[tokio::test]
async fn programs_hear_it_in_their_own_way() {
    let proxy = Proxy::start().await;
    let mut request = request("POST", "localhost:3000", "/api/v1/projects", "{}");
    *request.method_mut() = Method::POST;
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    let response = proxy.send(request).await;
    assert_eq!(response.status(), 503);
    let error: crate::Error = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(error, crate::Error::unavailable("proxy.console_restarting"));
}
