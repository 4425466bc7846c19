//! What a server function knows of its request: who asks, and the server's state.

use crate::{error::Fault, state::AppState};
use axum_parts::{accepts_page, is_call, parts};
use leptos::prelude::{provide_context, use_context};
use leptos_axum::ResponseOptions;
use odooops::{
    Error, Result,
    access::{self, Actor},
    user::Me,
};
use sqlx::{Postgres, Transaction};

/// Somebody signed in, with what their request may use.
pub struct Visitor {
    pub state: AppState,
    pub actor: Actor,
}

impl Visitor {
    /// Refuses strangers.
    pub fn require() -> Result<Self> {
        let actor = parts().and_then(|parts| parts.extensions.get::<Actor>().copied());
        let state = use_context::<AppState>().ok_or_else(|| Error::internal("pages without their state"))?;
        Ok(Self { state, actor: actor.ok_or(Error::Unauthenticated)? })
    }

    /// A transaction in which the database's policies see this person.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        access::begin_as(&self.state.pool, self.actor).await
    }
}

pub fn me() -> Option<Me> {
    parts()?.extensions.get::<Me>().cloned()
}

/// The answer of a server function: a refusal also sets the HTTP status. Not where a page asks while it is rendered,
/// which knows itself what its status is, nor where a browser without script posted a form: it is sent back to its
/// page, where the words stand.
pub fn answer<T>(result: Result<T>) -> Result<T, Fault> {
    result.map_err(|error| {
        if is_call() && !accepts_page() {
            set_status(error.status());
        }
        Fault(error)
    })
}

pub fn set_status(status: u16) {
    if let (Some(options), Ok(status)) =
        (use_context::<ResponseOptions>(), http::StatusCode::from_u16(status))
    {
        options.set_status(status);
    }
}

/// Where a form without script goes on. With script the page stays as it is.
pub fn go_on_at(path: &str) {
    if accepts_page() {
        leptos_axum::redirect(path);
    }
}

/// Gives the page's scripts the nonce of the policy that goes out with the answer, instead of one of their own.
/// Called once per request, where Leptos would make its own.
pub fn provide_nonce() {
    if let Some(nonce) = parts().and_then(|parts| parts.extensions.get::<leptos::nonce::Nonce>().cloned()) {
        provide_context(nonce);
    }
}

/// The value of a cookie that holds no secret.
pub fn cookie(name: &str) -> Option<String> {
    let parts = parts()?;
    let header = parts.headers.get(http::header::COOKIE)?.to_str().ok()?;
    header
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}

mod axum_parts {
    use http::{Method, header, request::Parts};
    use leptos::prelude::use_context;

    pub fn parts() -> Option<Parts> {
        use_context::<Parts>()
    }

    /// Whether the request is for a server function.
    pub fn is_call() -> bool {
        parts().is_some_and(|parts| parts.uri.path().starts_with("/api/"))
    }

    pub fn accepts_page() -> bool {
        parts().is_some_and(|parts| {
            parts.method == Method::POST
                && parts
                    .headers
                    .get(header::ACCEPT)
                    .and_then(|accept| accept.to_str().ok())
                    .is_some_and(|accept| accept.contains("text/html"))
        })
    }
}
