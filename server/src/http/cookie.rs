//! The session cookie.

use super::Web;
use axum::http::{HeaderMap, HeaderValue, header};
use odooops::{
    Error, Result,
    session::{Fingerprint, Secret},
};

/// The absolute end of a session, as in the database.
const MAX_AGE: u32 = 30 * 24 * 60 * 60;

/// With https the browser enforces by the prefix what the attributes ask: this host only, this path, secure.
fn name(web: &Web) -> &'static str {
    if web.is_https() { "__Host-ops_session" } else { "ops_session" }
}

/// The session that the request carries. A browser that sends two is not believed: one of them was planted.
pub fn session(web: &Web, headers: &HeaderMap) -> Option<Fingerprint> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut values = pairs
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name(web))
        .map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then(|| Fingerprint::of(value))
}

pub fn set(web: &Web, session: &Secret) -> Result<HeaderValue> {
    header(web, session.expose(), MAX_AGE)
}

pub fn clear(web: &Web) -> Result<HeaderValue> {
    header(web, "", 0)
}

fn header(web: &Web, value: &str, max_age: u32) -> Result<HeaderValue> {
    let secure = if web.is_https() { "; Secure" } else { "" };
    let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}", name(web));
    let mut header = HeaderValue::from_str(&text).map_err(Error::internal)?;
    header.set_sensitive(true);
    Ok(header)
}
