use super::{
    Fixture, Who,
    fixture::{Answer, OURS, json, send},
};
use axum::{
    body::Body,
    http::{Method, Request, header},
};

const FORM: &str = "application/x-www-form-urlencoded";

async fn link(f: &Fixture) -> String {
    let made = f.operate(Method::POST, "/api/v1/login-links", Some(serde_json::json!({}))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let url = made.json()["url"].as_str().unwrap().to_owned();
    url.strip_prefix("http://localhost:3000/sign-in?token=").unwrap().to_owned()
}

async fn redeem(f: &Fixture, token: &str, cookie: Option<&str>) -> Answer {
    let mut request =
        Request::post("/sign-in").header(header::ORIGIN, OURS).header(header::CONTENT_TYPE, FORM);
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    send(&f.console, request.body(Body::from(format!("token={token}"))).unwrap()).await
}

async fn whoami(f: &Fixture, cookie: &str) -> Answer {
    let request = Request::get("/api/v1/whoami").header(header::COOKIE, cookie);
    send(&f.console, json(request, None)).await
}

/// `name=value` of the Set-Cookie header.
fn cookie(answer: &Answer) -> (String, String) {
    let text = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    (text.split(';').next().unwrap().to_owned(), text)
}

#[tokio::test]
async fn threat_10_a_link_signs_in_once_and_only_by_post() {
    let f = Fixture::new().await;
    let token = link(&f).await;
    // What follows links - previews, mail scanners - reads a page and spends nothing.
    for _ in 0..3 {
        let page = send(&f.console, json(Request::get(format!("/sign-in?token={token}")), None)).await;
        assert_eq!(page.status, 200);
        assert!(page.headers.get(header::SET_COOKIE).is_none());
        assert!(page.text.contains(&token));
    }
    let first = redeem(&f, &token, None).await;
    assert_eq!(
        (first.status.as_u16(), &first.headers[header::LOCATION]),
        (303, &"/".parse().unwrap()),
        "{}",
        first.text
    );
    let (pair, whole) = cookie(&first);
    assert!(pair.starts_with("ops_session="));
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=2592000"] {
        assert!(whole.contains(attribute), "{whole}");
    }
    let me = whoami(&f, &pair).await;
    assert_eq!(me.json()["name"], "Administrator");

    let second = redeem(&f, &token, None).await;
    assert_eq!(second.status, 403);
    assert!(second.headers.get(header::SET_COOKIE).is_none());
    assert_eq!(redeem(&f, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", None).await.status, 403);
    assert_eq!(redeem(&f, "", None).await.status, 403);
}

#[tokio::test]
async fn threat_10_an_old_link_signs_nobody_in() {
    let f = Fixture::new().await;
    let token = link(&f).await;
    let mut conn = f.superuser().await;
    sqlx::query!("update ops.login_links set expires_at = now() - interval '1 second'")
        .execute(&mut conn)
        .await
        .unwrap();
    assert_eq!(redeem(&f, &token, None).await.status, 403);
}

#[tokio::test]
async fn threat_16_the_database_holds_no_secret_that_signs_in() {
    let f = Fixture::new().await;
    let token = link(&f).await;
    let mut conn = f.superuser().await;
    let stored = sqlx::query_scalar!("select encode(hash, 'escape') as \"hash!\" from ops.login_links")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(!stored.contains(&token));
    let hash = sqlx::query_scalar!("select encode(hash, 'hex') as \"hash!\" from ops.login_links")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(redeem(&f, &hash, None).await.status, 403);
}

#[tokio::test]
async fn signing_in_replaces_the_session_that_was_there() {
    let f = Fixture::new().await;
    let old = f.cookie(Who::Viewer);
    let answer = redeem(&f, &link(&f).await, Some(&old)).await;
    let (new, _) = cookie(&answer);
    assert_ne!(new, old);
    assert_eq!(whoami(&f, &old).await.status, 401);
    assert_eq!(whoami(&f, &new).await.status, 200);
}

#[tokio::test]
async fn signing_out_ends_the_session_in_the_database() {
    let f = Fixture::new().await;
    let pair = f.cookie(Who::Viewer);
    let foreign = Request::post("/sign-out")
        .header(header::COOKIE, &pair)
        .header(header::ORIGIN, "https://evil.example");
    assert_eq!(send(&f.console, json(foreign, None)).await.status, 403);
    assert_eq!(whoami(&f, &pair).await.status, 200);
    let ours = Request::post("/sign-out").header(header::COOKIE, &pair).header(header::ORIGIN, OURS);
    let answer = send(&f.console, json(ours, None)).await;
    assert_eq!(answer.status, 303);
    assert!(cookie(&answer).1.contains("Max-Age=0"));
    assert_eq!(whoami(&f, &pair).await.status, 401);
}

#[tokio::test]
async fn sessions_end_idle_absolute_and_with_their_user() {
    let f = Fixture::new().await;
    let mut conn = f.superuser().await;
    let (idle, absolute, disabled) =
        (f.users[&Who::Viewer].0, f.users[&Who::Admin].0, f.users[&Who::Owner].0);
    sqlx::query!("update ops.sessions set last_seen_at = now() - interval '8 days' where user_id = $1", idle)
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::query!(
        "update ops.sessions set expires_at = now() - interval '1 second' where user_id = $1",
        absolute
    )
    .execute(&mut conn)
    .await
    .unwrap();
    sqlx::query!("update ops.users set disabled_at = now() where id = $1", disabled)
        .execute(&mut conn)
        .await
        .unwrap();
    for who in [Who::Viewer, Who::Admin, Who::Owner] {
        assert_eq!(whoami(&f, &f.cookie(who)).await.status, 401, "{who:?}");
    }
    assert_eq!(f.ask(Who::Owner, Method::GET, "/api/v1/whoami", None).await.status, 401);
    assert_eq!(whoami(&f, &f.cookie(Who::Tester)).await.status, 200);
}

#[tokio::test]
async fn threat_05_cookies_write_only_from_our_own_pages() {
    let f = Fixture::new().await;
    let attempt = async |origin: Option<&str>| {
        let mut request = Request::post("/api/v1/tokens").header(header::COOKIE, f.cookie(Who::Owner));
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        send(&f.console, json(request, Some(serde_json::json!({"name": "x"})))).await
    };
    for bad in [None, Some("null"), Some("https://evil.example"), Some("http://demo-x.localhost:3000")] {
        let answer = attempt(bad).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (403, "request.foreign_origin"),
            "{bad:?}"
        );
    }
    assert_eq!(attempt(Some(OURS)).await.status, 201);
    let mut conn = f.superuser().await;
    let made = sqlx::query_scalar!("select count(*) as \"n!\" from ops.api_tokens where name = 'x'");
    assert_eq!(made.fetch_one(&mut conn).await.unwrap(), 1);
}

#[tokio::test]
async fn threat_04_a_token_needs_no_origin_and_makes_cookies_count_for_nothing() {
    let f = Fixture::new().await;
    let ask = async |token: &str| {
        let request = Request::post("/api/v1/tokens")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::COOKIE, f.cookie(Who::Owner));
        send(&f.console, json(request, Some(serde_json::json!({"name": "y"})))).await
    };
    assert_eq!(ask(&f.tokens[&Who::Viewer]).await.status, 201);
    assert_eq!(ask("ops_wrong").await.status, 401);
    let mut conn = f.superuser().await;
    let owner = sqlx::query_scalar!("select user_id from ops.api_tokens where name = 'y'");
    assert_eq!(owner.fetch_one(&mut conn).await.unwrap(), f.users[&Who::Viewer].0);
}

#[tokio::test]
async fn with_https_the_cookie_is_bound_to_the_host_and_planted_ones_are_not_believed() {
    let f = Fixture::with(&[("public_scheme", "https"), ("base_domain", "ops.example")]).await;
    let session = &f.sessions[&Who::Viewer];
    assert_eq!(whoami(&f, &format!("__Host-ops_session={session}")).await.status, 200);
    assert_eq!(whoami(&f, &format!("ops_session={session}")).await.status, 401);
    let two = format!("__Host-ops_session=x; __Host-ops_session={session}");
    assert_eq!(whoami(&f, &two).await.status, 401);
    let out = Request::post("/sign-out").header(header::ORIGIN, "https://ops.example");
    let answer = send(&f.console, json(out, None)).await;
    assert!(cookie(&answer).1.starts_with("__Host-ops_session=;") && cookie(&answer).1.contains("; Secure"));
    assert!(answer.headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
}

#[tokio::test]
async fn threat_15_every_page_has_a_policy_with_a_nonce_of_its_own() {
    let f = Fixture::new().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..5 {
        let page = send(&f.console, json(Request::get("/sign-in?token=abc"), None)).await;
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        assert!(
            nonce.len() >= 20 && page.text.contains(&format!("<script nonce=\"{nonce}\">")),
            "{}",
            page.text
        );
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe-eval'") || policy.contains("wasm-unsafe-eval"), "{policy}");
        assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
        assert!(seen.insert(nonce));
    }
}

#[tokio::test]
async fn strangers_to_the_console_are_asked_to_sign_in() {
    let f = Fixture::new().await;
    for path in ["/health", "/healthz", "/readyz"] {
        let answer = send(&f.console, json(Request::get(path), None)).await;
        assert_ne!(answer.status, 500, "{path}");
    }
    assert_eq!(send(&f.console, json(Request::get("/healthz"), None)).await.status, 200);
    let ready = send(&f.console, json(Request::get("/readyz"), None)).await;
    assert_eq!(ready.status, 200, "{}", ready.text);
}
