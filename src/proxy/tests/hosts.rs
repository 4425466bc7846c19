//! Which host leads where, and what hostile ones meet.

use super::{Proxy, Seen, console, mirror, request, route, text, upstream};
use crate::{environment::EnvironmentState, id::RunId, proxy::HEALTH_PATH, proxy::Route};
use axum::{Router, routing::any};

#[tokio::test]
async fn console_environments_and_nothing_else() {
    let proxy = Proxy::start().await;
    console(proxy.folder.path().join("serve.sock"), Router::new().fallback(any(|| async { "console" })));
    proxy.route(upstream(Router::new().fallback(any(|| async { "environment" }))).await);
    for (host, status, body) in [
        ("localhost:3000", 200, "console"),
        ("127.0.0.1", 200, "console"),
        ("[::1]:1", 200, "console"),
        ("env.localhost:3000", 200, "environment"),
        ("ENV.Localhost", 200, "environment"),
        ("env.localhost.", 200, "environment"),
        ("other.localhost:3000", 404, "There is no environment other."),
        ("x.env.localhost:3000", 404, "Nothing lives at this address"),
        ("example.com", 404, "Nothing lives at this address"),
        ("env.localhost.example.com", 404, "Nothing lives at this address"),
    ] {
        let response = proxy.get(host, "/").await;
        assert_eq!(response.status(), status, "{host}");
        assert!(text(&response).contains(body), "{host}: {}", text(&response));
    }
}

#[tokio::test]
async fn hostile_hosts_are_refused_and_never_repeated() {
    let proxy = Proxy::start().await;
    proxy.route(upstream(mirror()).await);
    let long = "a".repeat(5000);
    for host in [
        "a.b@c",
        "..",
        "../../etc",
        "<script>alert(1)</script>.localhost",
        "env.localhost/..",
        "env.localhost:99999",
        "env.localhost@localhost",
        "env localhost",
        "%65nv.localhost",
        "",
        long.as_str(),
    ] {
        let answer = proxy
            .raw(
                format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            )
            .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host:?}: {answer}");
        assert!(!answer.contains("<script") && !answer.contains("etc"), "{host:?}: {answer}");
    }
}

#[tokio::test]
async fn requests_with_two_opinions_about_the_host() {
    let proxy = Proxy::start().await;
    proxy.route(upstream(mirror()).await);
    for (head, status) in [
        ("GET / HTTP/1.1\r\nHost: env.localhost\r\nHost: localhost", 400),
        ("GET http://env.localhost/ HTTP/1.1\r\nHost: localhost", 400),
        ("GET http://env.localhost/ HTTP/1.1\r\nHost: env.localhost", 200),
        ("GET http://u@env.localhost/ HTTP/1.1\r\nHost: env.localhost", 400),
        ("GET / HTTP/1.0", 400),
        ("GET / HTTP/1.1", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: env.localhost", 400),
        ("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22", 405),
        ("GET / HTTP/1.0\r\nHost: env.localhost", 200),
    ] {
        let answer = proxy.raw(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await;
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.contains(&format!(" {status} ")), "{head:?}: {line}");
    }
}

#[tokio::test]
async fn a_smuggled_request_stays_a_body() {
    let proxy = Proxy::start().await;
    proxy.route(upstream(mirror()).await);
    for framing in [
        "Content-Length: 44\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 44",
        "Content-Length: 44\r\nContent-Length: 5",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
    ] {
        let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: env.localhost\r\n\r\n";
        let answer = proxy
            .raw(
                format!("POST / HTTP/1.1\r\nHost: env.localhost\r\n{framing}\r\nConnection: close\r\n\r\n{smuggled}")
                    .as_bytes(),
            )
            .await;
        assert!(!answer.contains("/smuggled"), "{framing:?}: {answer}");
    }
}

#[tokio::test]
async fn what_an_environment_and_the_console_get_to_see() {
    let proxy = Proxy::start().await;
    proxy.route(upstream(mirror()).await);
    console(proxy.folder.path().join("serve.sock"), mirror());
    let ask = |host: &str| {
        let mut request = request("GET", host, "/web/%2e%2e/a%20b?x=%2f&y", "");
        for (name, value) in [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=6.6.6.6"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("cookie", "session_id=o; ops_session=s; __Host-ops_session=t"),
        ] {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        proxy.send(request)
    };
    for (host, cookie) in [
        ("env.localhost:3000", "session_id=o"),
        ("localhost:3000", "session_id=o; ops_session=s; __Host-ops_session=t"),
    ] {
        let seen = Seen::by(&ask(host).await);
        assert_eq!(seen.uri, "/web/%2e%2e/a%20b?x=%2f&y", "the path is passed on as it is");
        assert_eq!(seen.all("host"), [host]);
        assert_eq!(seen.all("x-forwarded-host"), [host]);
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
        assert_eq!(seen.all("cookie"), [cookie]);
        assert!(seen.all("forwarded").is_empty() && seen.all("x-hop").is_empty());
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy() {
    let proxy = Proxy::with_options(|it| it.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    proxy.route(upstream(mirror()).await);
    let mut request = request("GET", "10.0.0.1:3000", "/", "");
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("x-forwarded-host", "env.localhost"),
        ("x-forwarded-proto", "https"),
    ] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let seen = Seen::by(&proxy.send(request).await);
    assert_eq!(seen.all("host"), ["env.localhost"]);
    assert_eq!(seen.all("x-forwarded-for"), ["203.0.113.9"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn environments_that_do_not_run_say_so() {
    let proxy = Proxy::start().await;
    let address = upstream(mirror()).await;
    let run = RunId::new();
    for (state, title, waits) in [
        (EnvironmentState::Building, "This environment is being built", true),
        (EnvironmentState::Stopped, "This environment is stopped", false),
        (EnvironmentState::Failed, "This environment failed", false),
        (EnvironmentState::Destroying, "This environment was removed", false),
    ] {
        // Even with an address: only what runs is dialled.
        let route = Route { run_id: Some(run), ..route("env", state, Some(address)) };
        proxy.routes.replace(vec![route]);
        let response = proxy.get("env.localhost:3000", "/web").await;
        assert_eq!(response.status(), 503, "{state:?}");
        assert_eq!(response.headers().contains_key("retry-after"), waits, "{state:?}");
        let page = text(&response);
        assert!(page.contains(&format!("<h1>{title}</h1>")), "{page}");
        assert!(
            page.contains(&format!("href=\"http://localhost:3000/projects/library/builds/{run}\"")),
            "{page}"
        );
        assert_eq!(page.contains("http-equiv=\"refresh\""), waits, "{state:?}");
    }
}

#[tokio::test]
async fn health_is_the_proxy_s_own() {
    let proxy = Proxy::start().await;
    for host in ["localhost", "env.localhost", "example.com", "127.0.0.9"] {
        let response = proxy.get(host, HEALTH_PATH).await;
        assert_eq!((response.status().as_u16(), text(&response)), (200, "ok\n"), "{host}");
    }
}
