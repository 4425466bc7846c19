//! One-time sign-in links. Opening the link shows a page whose form redeems it: mail scanners and link previews
//! follow links but post nothing, so they cannot spend it. A script presses the button for people.

use super::{ClientAddress, Web, api::Problem, cookie};
use app::say;
use axum::{
    Extension, Form,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use leptos::nonce::Nonce;
use odooops::{
    Error,
    session::{Fingerprint, service},
};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Link {
    #[serde(default)]
    token: String,
}

pub async fn show(
    Query(link): Query<Link>,
    headers: HeaderMap,
    Extension(nonce): Extension<Nonce>,
) -> Response {
    let body = if is_token(&link.token) { form(&link.token, &nonce) } else { explain(None) };
    Html(page(&body, theme(&headers), &nonce)).into_response()
}

pub async fn redeem(
    State(web): State<Web>,
    address: ClientAddress,
    Extension(nonce): Extension<Nonce>,
    headers: HeaderMap,
    Form(link): Form<Link>,
) -> Response {
    match sign_in(&web, address, &headers, token_of(&link.token)).await {
        Ok(response) => response,
        Err(error @ Error::Forbidden { .. }) => {
            (StatusCode::FORBIDDEN, Html(page(&explain(Some(&error)), theme(&headers), &nonce)))
                .into_response()
        }
        Err(error) => Problem(error).into_response(),
    }
}

async fn sign_in(
    web: &Web,
    address: ClientAddress,
    headers: &HeaderMap,
    token: &str,
) -> odooops::Result<Response> {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let address = address.0.map(|address| address.to_string());
    let before = cookie::session(web, headers);
    let link = Fingerprint::of(token);
    let mut txn = web.pool.begin().await?;
    let session = service::sign_in(&mut txn, link, before, address.as_deref(), agent).await?;
    txn.commit().await?;
    Ok(([(header::SET_COOKIE, cookie::set(web, &session)?)], Redirect::to("/")).into_response())
}

/// Ends the session in the database too: a copied cookie is worth nothing afterwards.
pub async fn sign_out(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(session) = cookie::session(&web, &headers) {
        let mut conn = web.pool.acquire().await.map_err(Error::from)?;
        service::sign_out(&mut conn, session).await?;
    }
    Ok(([(header::SET_COOKIE, cookie::clear(&web)?)], Redirect::to("/sign-in")).into_response())
}

/// The token of what somebody pasted: the whole link, or what they took for the part that matters.
fn token_of(pasted: &str) -> &str {
    let token = pasted.rsplit_once("token=").map_or(pasted, |(_, token)| token).trim();
    token.split(|c: char| c == '&' || c == '#' || c.is_whitespace()).next().unwrap_or_default()
}

/// The theme that the console's pages were switched to.
fn theme(headers: &HeaderMap) -> Option<&'static str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, chosen) = pairs.find(|(key, _)| *key == "theme")?;
    ["light", "dark"].into_iter().find(|known| *known == chosen)
}

/// What a token can be made of, so that it may stand in HTML as it is.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

fn form(token: &str, nonce: &Nonce) -> String {
    format!(
        r#"<p>{hint}</p>
<form method="post" action="/sign-in"><input type="hidden" name="token" value="{token}">
<button type="submit" autofocus>{button}</button></form>
<script nonce="{nonce}">
const go = () => document.forms[0].requestSubmit();
document.prerendering ? document.addEventListener("prerenderingchange", go, {{ once: true }}) : go();
</script>"#,
        hint = say!(sign_in.hint),
        button = say!(sign_in.button),
    )
}

fn explain(error: Option<&Error>) -> String {
    let problem = error.map(|error| format!(r#"<p role="alert">{}</p>"#, app::words::sentence(error)));
    format!(
        r#"{problem}<p>{how}</p><pre>ops login-link</pre>
<form method="post" action="/sign-in"><label for="token">{paste}</label>
<input id="token" name="token" required autocomplete="off" spellcheck="false">
<button type="submit">{button}</button></form>"#,
        problem = problem.unwrap_or_default(),
        how = say!(sign_in.how),
        paste = say!(sign_in.paste),
        button = say!(sign_in.button),
    )
}

fn page(body: &str, theme: Option<&str>, nonce: &Nonce) -> String {
    let theme = theme.map(|theme| format!(r#" data-theme="{theme}""#)).unwrap_or_default();
    format!(
        r#"<!DOCTYPE html>
<html lang="en"{theme}><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><link rel="icon" href="/static/icon.svg" type="image/svg+xml"><title>{title} - OdooOps</title><style nonce="{nonce}">{STYLE}</style></head>
<body><main data-testid="sign-in"><h1>OdooOps</h1>{body}</main></body></html>"#,
        title = say!(sign_in.title),
    )
}

/// Enough to be calm in light and dark; the console's stylesheet is not needed to sign in.
const STYLE: &str = "\
:root{color-scheme:light dark}:root[data-theme=light]{color-scheme:light}:root[data-theme=dark]{color-scheme:dark}\
body{margin:0;min-height:100dvh;display:grid;place-items:center;font:14px/22px Inter,system-ui,sans-serif;\
background:light-dark(#faf9f8,#171615);color:light-dark(#23211f,#e9e6e3)}\
main{width:min(360px,calc(100vw - 48px));box-sizing:border-box;padding:32px;border:1px solid \
light-dark(#e2dfdb,#383532);border-radius:10px;background:light-dark(#fff,#1f1d1c)}\
h1{margin:0 0 16px;font-size:20px;line-height:28px;font-weight:500}p{margin:0 0 16px}\
pre{margin:0;padding:8px 12px;border-radius:6px;background:light-dark(#f1efec,#141312);\
font:12px/18px 'JetBrains Mono',ui-monospace,monospace}\
pre+form{margin-top:24px}label{display:block;margin-bottom:4px}\
input:not([type=hidden]){width:100%;height:36px;box-sizing:border-box;margin-bottom:12px;padding:0 10px;border:1px solid \
light-dark(#918c86,#6f6a65);border-radius:6px;background:light-dark(#faf9f8,#171615);color:inherit;font:inherit}\
button{width:100%;height:36px;border:0;border-radius:6px;font:inherit;font-weight:500;color:#fff;\
background:oklch(45% .11 330);cursor:pointer}button:focus-visible{outline:2px solid oklch(72% .12 330);outline-offset:2px}\
[role=alert]{padding:8px 12px;border-radius:6px;background:light-dark(#fbeae8,#3b1f1c)}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_15_a_token_that_is_markup_is_not_shown() {
        for bad in ["", "\"><script>alert(1)</script>", "a b", "a&b", &"a".repeat(101)] {
            assert!(!is_token(bad), "{bad}");
        }
        assert!(is_token(odooops::session::Secret::new().expose()));
    }

    #[test]
    fn links_are_pasted_whole_in_part_and_with_what_stood_around() {
        for pasted in [
            "AB-c_1",
            " AB-c_1\n",
            "http://localhost:3000/sign-in?token=AB-c_1",
            "open http://localhost:3000/sign-in?token=AB-c_1 soon",
            "token=AB-c_1&x=y",
            "/sign-in?token=AB-c_1#x",
        ] {
            assert_eq!(token_of(pasted), "AB-c_1", "{pasted:?}");
        }
        assert_eq!(token_of(""), "");
    }

    #[test]
    fn the_theme_is_one_of_two_words() {
        let of = |cookies: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, axum::http::HeaderValue::from_static(cookies));
            theme(&headers)
        };
        assert_eq!(of("a=b; theme=dark"), Some("dark"));
        assert_eq!(of("theme=light"), Some("light"));
        assert_eq!(of("theme=\"><script>"), None);
        assert_eq!(of("xtheme=dark"), None);
    }
}
