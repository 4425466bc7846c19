//! Requests that ride on a cookie must come from our own pages. Every unsafe verb and every websocket upgrade is
//! checked unless a bearer token was sent, which no foreign page can do.

use super::{Web, api::Problem, auth};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use odooops::{Detail, Error};

pub async fn same_origin(State(web): State<Web>, request: Request, next: Next) -> Response {
    if allowed(request.method(), request.headers(), &web.site.public_url) {
        return next.run(request).await;
    }
    // Most who see this opened the console under another name than it was set up with.
    let detail = Detail::new("request.foreign_origin").with("expected", &web.site.public_url);
    Problem(Error::Forbidden { detail }).into_response()
}

fn allowed(method: &Method, headers: &HeaderMap, ours: &str) -> bool {
    let upgrade = headers.contains_key(header::UPGRADE);
    let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if (safe && !upgrade) || auth::bearer(headers).is_some() {
        return true;
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => origin.as_bytes() == ours.as_bytes(),
        // Browsers name the origin of every upgrade; of a form they may tell the relation only.
        (None, None) => !upgrade && headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const OURS: &str = "https://ops.example";

    fn check(method: Method, pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        allowed(&method, &headers, OURS)
    }

    #[test]
    fn threat_05_unsafe_verbs_need_our_origin() {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(check(method.clone(), &[("origin", OURS)]));
            assert!(check(method.clone(), &[("sec-fetch-site", "same-origin")]));
            for bad in [
                &[][..],
                &[("origin", "null")],
                &[("origin", "https://evil.example")],
                &[("origin", "https://env.ops.example")],
                &[("origin", "http://ops.example")],
                &[("origin", "https://ops.example:8443")],
                &[("origin", "https://ops.example.evil.example")],
                &[("origin", OURS), ("origin", "https://evil.example")],
                &[("origin", "null"), ("sec-fetch-site", "same-origin")],
                &[("sec-fetch-site", "same-site")],
                &[("sec-fetch-site", "cross-site")],
                &[("sec-fetch-site", "none")],
                &[("referer", "https://ops.example/")],
            ] {
                assert!(!check(method.clone(), bad), "{method} {bad:?}");
            }
        }
        assert!(check(Method::GET, &[("origin", "https://evil.example")]));
    }

    #[test]
    fn threat_04_upgrades_need_our_origin_even_by_get() {
        let upgrade = ("upgrade", "websocket");
        assert!(check(Method::GET, &[upgrade, ("origin", OURS)]));
        for bad in [
            &[upgrade][..],
            &[upgrade, ("origin", "null")],
            &[upgrade, ("origin", "https://evil.example")],
            &[upgrade, ("sec-fetch-site", "same-origin")],
        ] {
            assert!(!check(Method::GET, bad), "{bad:?}");
        }
        assert!(check(Method::GET, &[upgrade, ("authorization", "Bearer ops_x")]));
    }
}
