//! Who asks. A bearer token wins and cookies are then ignored; else the session cookie counts; on the server's own
//! socket it is the platform administrator. Handlers get `Identity`; pages and server functions find `Actor` and
//! `Me` among the request's extensions.

use super::{ClientAddress, Web, api::Problem, cookie};
use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use odooops::{
    Error, Result,
    access::{Actor, begin_as},
    session::{Fingerprint, service},
    user::Me,
};
use sqlx::{Postgres, Transaction};
use std::convert::Infallible;

/// How somebody came in, with what can be checked again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Session(Fingerprint),
    Token(Fingerprint),
    /// `ops.sock`: whoever can open that file administers the platform.
    Socket,
}

/// Somebody whom we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub me: Me,
    pub door: Door,
    pub address: ClientAddress,
}

impl Identity {
    pub fn actor(&self) -> Actor {
        Actor { user_id: self.me.id, platform_admin: self.me.platform_admin, address: self.address.0 }
    }

    /// A transaction that acts as this person.
    pub async fn begin(&self, web: &Web) -> Result<Transaction<'static, Postgres>> {
        begin_as(&web.pool, self.actor()).await
    }

    /// The same person as the database knows them now; `Unauthenticated` when session or token ended.
    pub async fn again(&self, web: &Web) -> Result<Self> {
        let me = holder(web, self.door).await?.ok_or(Error::Unauthenticated)?;
        if me.id == self.me.id { Ok(Self { me, ..self.clone() }) } else { Err(Error::Unauthenticated) }
    }
}

async fn holder(web: &Web, door: Door) -> Result<Option<Me>> {
    // A transaction, because reading one's own row sets who asks for as long as it lasts.
    let mut txn = web.pool.begin().await?;
    let me = match door {
        Door::Session(session) => service::holder_of_session(&mut txn, session).await?.map(|(me, _)| me),
        Door::Token(token) => service::holder_of_token(&mut txn, token).await?.map(|(me, _)| me),
        Door::Socket => Some(service::platform_administrator(&mut txn).await?),
    };
    txn.commit().await?;
    Ok(me)
}

/// The token of `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn identify(web: &Web, headers: &HeaderMap, address: ClientAddress) -> Result<Option<Identity>> {
    if let Some(token) = bearer(headers) {
        let door = Door::Token(Fingerprint::of(token));
        let me = holder(web, door).await?.ok_or(Error::Unauthenticated)?;
        return Ok(Some(Identity { me, door, address }));
    }
    let Some(session) = cookie::session(web, headers) else { return Ok(None) };
    let door = Door::Session(session);
    Ok(holder(web, door).await?.map(|me| Identity { me, door, address }))
}

fn known(request: &mut Request, identity: Identity) {
    let extensions = request.extensions_mut();
    extensions.insert(identity.actor());
    extensions.insert(identity.me.clone());
    extensions.insert(identity);
}

/// Finds out who asks, on what browsers and API clients reach. Lets strangers pass: each entry decides.
pub async fn by_cookie_or_token(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    match identify(&web, request.headers(), ClientAddress::of(request.extensions())).await {
        Ok(Some(identity)) => known(&mut request, identity),
        Ok(None) => {}
        Err(error) => return Problem(error).into_response(),
    }
    next.run(request).await
}

/// Pages are for people who are known; others are asked to sign in. Server functions answer for themselves.
pub async fn sign_in_first(request: Request, next: Next) -> Response {
    const OPEN: [&str; 5] = ["/sign-in", "/pkg/", "/fonts/", "/static/", "/api/"];
    let path = request.uri().path();
    let known = request.extensions().get::<Identity>().is_some();
    if known || OPEN.iter().any(|open| path.starts_with(open)) || path == "/favicon.ico" {
        return next.run(request).await;
    }
    Redirect::to("/sign-in").into_response()
}

/// Everybody on the server's own socket is the platform administrator.
pub async fn by_socket(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    match holder(&web, Door::Socket).await {
        Ok(Some(me)) => {
            known(&mut request, Identity { me, door: Door::Socket, address: ClientAddress(None) })
        }
        Ok(None) => {}
        Err(error) => return Problem(error).into_response(),
    }
    next.run(request).await
}

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or(Problem(Error::Unauthenticated))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Identity {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn bearer_is_read_in_any_case_and_nothing_else_is() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with("Bearer ops_x").as_deref(), Some("ops_x"));
        assert_eq!(with("bearer  ops_x").as_deref(), Some("ops_x"));
        assert_eq!(with("Basic b3BzOng="), None);
        assert_eq!(with("Bearer"), None);
    }
}
