//! Everything that speaks HTTP. Two doors: what browsers and API clients reach through the proxy, and the server's
//! own socket, on which everybody is the platform administrator.

mod api;
mod auth;
mod cookie;
mod csp;
mod health;
mod live;
mod origin;
mod sign_in;
mod web;
mod words;

#[cfg(test)]
mod tests;

pub use api::{CreatedToken, EnvironmentRequest, LoginLink, MoveRequest, NewToken, ProblemBody, ProjectRequest, Queued};
pub use auth::{ClientAddress, Identity};
pub use web::Web;

use axum::{
    Router,
    http::{HeaderValue, header},
    middleware::{from_fn, from_fn_with_state as with},
    routing::{get, post},
};
use tower_http::{compression::CompressionLayer, services::ServeDir, set_header::SetResponseHeaderLayer};

/// Files whose name holds the hash of what is in them never change.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What the proxy forwards: the console, its live socket, the API.
pub fn console(web: &Web) -> Router {
    let files = ServeDir::new(web.config.site_root.join("pkg")).precompressed_br();
    let pages = Router::new()
        .route("/sign-in", get(sign_in::show).post(sign_in::redeem))
        .route("/sign-out", post(sign_in::sign_out))
        .layer(CompressionLayer::new());
    Router::new()
        .merge(pages)
        .route("/live", get(live::upgrade))
        .nest("/api/v1", api::routes())
        // Nobody is asked for below: these need no identity and change nothing.
        .layer(with(web.clone(), origin::same_origin))
        .layer(with(web.clone(), auth::by_cookie_or_token))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .nest_service(
            "/pkg",
            tower::ServiceBuilder::new()
                .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, FOREVER))
                .service(files),
        )
        .layer(with(web.clone(), csp::headers))
        .with_state(web.clone())
}

/// The same behind the proxy's socket, which says who the client is.
pub fn console_behind_proxy(web: &Web) -> Router {
    console(web).layer(from_fn(auth::address_from_proxy))
}

/// What `ops.sock` answers: the API as platform administrator.
pub fn socket(web: &Web) -> Router {
    Router::new()
        .nest("/api/v1", api::routes())
        .layer(with(web.clone(), auth::by_socket))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .with_state(web.clone())
}
