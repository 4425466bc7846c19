//! What the proxy says itself: small pages that explain, without scripts, and the same as JSON or text for
//! programs. They stand on nothing but this file, because they are shown when everything else is down.

use super::body::{self, Body};
use crate::Error;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const STYLE: &str = include_str!("page.css");

/// Nothing may load or run; the one style is known by its hash.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The colour and shape of the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Waiting,
    Missing,
    Broken,
}

impl Mood {
    fn class_and_path(self) -> (&'static str, &'static str) {
        match self {
            Self::Waiting => ("waiting", r#"<path d="M12 7v5l3 2"/>"#),
            Self::Missing => ("missing", r#"<path d="M8 12h8"/>"#),
            Self::Broken => ("broken", r#"<path d="m9 9 6 6m0-6-6 6"/>"#),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Page {
    pub status: StatusCode,
    pub mood: Mood,
    /// Stable, for programs: `proxy.unknown_host`.
    pub code: &'static str,
    pub title: String,
    pub text: String,
    /// Seconds after which another look is worth it.
    pub retry: Option<u32>,
    pub link: Option<Link>,
}

#[derive(Debug, Clone)]
pub struct Link {
    pub href: String,
    pub label: &'static str,
}

impl Page {
    pub fn new(status: StatusCode, mood: Mood, code: &'static str, title: &str, text: &str) -> Self {
        Self { status, mood, code, title: title.to_owned(), text: text.to_owned(), retry: None, link: None }
    }

    #[must_use]
    pub fn retry(mut self, seconds: u32) -> Self {
        self.retry = Some(seconds);
        self
    }

    #[must_use]
    pub fn link(mut self, href: String, label: &'static str) -> Self {
        self.link = Some(Link { href, label });
        self
    }

    /// As the client reads best.
    pub fn respond(&self, method: &Method, request: &HeaderMap) -> Response<Body> {
        let accepts = |kind: &str| {
            request.get_all(ACCEPT).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(kind)))
        };
        let (kind, text) = if accepts("text/html") {
            // A page that came from a form must not be asked for again by itself.
            let reload = self.retry.filter(|_| matches!(*method, Method::GET | Method::HEAD));
            ("text/html; charset=utf-8", self.html(reload))
        } else if accepts("json") {
            ("application/json", self.json())
        } else {
            ("text/plain; charset=utf-8", format!("{}\n{}\n", self.title, self.text))
        };
        let mut response = Response::new(body::full(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if let Ok(policy) = HeaderValue::from_str(&POLICY) {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        if let Some(seconds) = self.retry {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        response
    }

    /// The form of every error of the platform.
    fn json(&self) -> String {
        let error = match self.status {
            StatusCode::NOT_FOUND => Error::not_found(self.code),
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => {
                Error::invalid("request", crate::Detail::new(self.code))
            }
            _ => Error::unavailable(self.code),
        };
        serde_json::to_string(&error).unwrap_or_default()
    }

    fn html(&self, reload: Option<u32>) -> String {
        let (class, path) = self.mood.class_and_path();
        let title = escape(&self.title);
        let text = escape(&self.text);
        let reload = reload.map_or_else(String::new, |seconds| {
            format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">\n")
        });
        let waiting =
            if reload.is_empty() { "" } else { "<p class=\"note\">This page looks again by itself.</p>\n" };
        let link = self.link.as_ref().map_or_else(String::new, |link| {
            format!("<p><a href=\"{}\">{}</a></p>\n", escape(&link.href), escape(link.label))
        });
        let status = self.status.as_u16();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n\
             {reload}<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <svg class=\"{class}\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><circle cx=\"12\" cy=\"12\" r=\"10\"/>\
             {path}</svg>\n<h1>{title}</h1>\n<p>{text}</p>\n{link}{waiting}\
             <p class=\"note code\">{status} {}</p>\n</main>\n</body>\n</html>\n",
            self.code
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{Mood, Page, STYLE};
    use crate::Error;
    use base64::{Engine, prelude::BASE64_STANDARD};
    use http::{HeaderMap, HeaderValue, Method, StatusCode, header::ACCEPT};
    use http_body_util::BodyExt;
    use sha2::{Digest, Sha256};

    async fn render(accept: &'static str, method: &Method) -> (http::response::Parts, String) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let (parts, body) =
            Page::new(StatusCode::SERVICE_UNAVAILABLE, Mood::Waiting, "proxy.test", "A <b>", "\"&")
                .retry(2)
                .link("http://localhost/?a=\"".to_owned(), "Open")
                .respond(method, &headers)
                .into_parts();
        (parts, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn html_is_escaped_and_its_one_style_is_allowed() {
        let (parts, html) = render("text/html,*/*", &Method::GET).await;
        assert_eq!(parts.status, 503);
        assert_eq!(parts.headers["retry-after"], "2");
        assert_eq!(parts.headers["cache-control"], "no-store");
        let policy = parts.headers["content-security-policy"].to_str().unwrap();
        let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        assert_eq!(style, STYLE);
        assert!(policy.contains(&format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(style)))));
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        assert!(html.contains("<h1>A &lt;b&gt;</h1>") && html.contains("<p>&quot;&amp;</p>"));
        assert!(html.contains(r#"href="http://localhost/?a=&quot;""#));
        assert!(html.contains(r#"<meta http-equiv="refresh" content="2">"#));
        assert!(!html.contains("<script") && !html.contains("style="));

        let (_, html) = render("text/html", &Method::POST).await;
        assert!(!html.contains("http-equiv=\"refresh\""), "a form must not be repeated as a visit");
    }

    #[tokio::test]
    async fn programs_get_what_they_read() {
        let (parts, json) = render("application/json", &Method::GET).await;
        assert_eq!(parts.headers["content-type"], "application/json");
        assert_eq!(serde_json::from_str::<Error>(&json).unwrap(), Error::unavailable("proxy.test"));
        let (parts, text) = render("*/*", &Method::GET).await;
        assert_eq!(parts.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(text, "A <b>\n\"&\n");
    }
}
