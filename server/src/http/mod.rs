//! Everything that speaks HTTP. Two doors: what browsers and API clients reach through the proxy, and the server's
//! own socket, on which everybody is the platform administrator.

mod address;
mod api;
mod auth;
mod console;
mod cookie;
mod csp;
mod git;
mod health;
mod hooks;
mod live;
mod origin;
mod refusals;
mod shell;
mod sign_in;
mod web;
mod words;

#[cfg(test)]
mod tests;

pub use address::ClientAddress;
pub use api::Problem;
pub use api::{
    AdminPassword, CreatedToken, DeletionRequest, DrainRequest, DryRunRequest, EnvironmentRequest,
    FilesQuery, HostLimitsRequest, HostTokenRequest, KindLimitRequest, LabelsRequest, LoginLink, MoveRequest,
    NewToken, OnPushRequest, PriorityRequest, ProblemBody, ProjectRequest, Queued, Revoked,
};
pub use auth::Identity;
pub use git::read as read_sources;
pub use web::Web;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state as with},
    routing::{get, post},
};
use odooops::{Error, urls::Urls};
use sha2::{Digest, Sha256};
use std::path::Path;

/// What the proxy forwards: the console, its live socket, the API.
pub fn console(web: &Web) -> Router {
    Router::new()
        .route("/sign-in", get(sign_in::show).post(sign_in::redeem))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/live", get(live::upgrade))
        .nest("/api/v1", api::routes())
        .fallback_service(pages(web))
        .layer(with(web.clone(), refusals::write_down))
        .layer(with(web.clone(), origin::same_origin))
        .layer(with(web.clone(), auth::by_cookie_or_token))
        // Below, nobody is asked who they are: these tell nothing and change nothing.
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .layer(with(web.clone(), csp::headers))
        .with_state(web.clone())
        // Identity by token only, bodies of any size, and nothing that a browser would show.
        .merge(
            git::router(git::GitHttp::new(
                web.pool.clone(),
                web.repositories.clone(),
                web.config.ops_socket(),
            ))
            .layer(with(web.clone(), refusals::write_down)),
        )
}

/// The same behind the proxy's socket, which says who the client is.
pub fn console_behind_proxy(web: &Web) -> Router {
    console(web).layer(from_fn(address::from_proxy))
}

/// What `ops.sock` answers: the API as platform administrator, and git's hooks.
pub fn socket(web: &Web) -> Router {
    let hooks = hooks::HookState {
        pool: web.pool.clone(),
        repositories: web.repositories.clone(),
        urls: Urls::clone(&web.urls),
    };
    Router::new()
        .nest("/api/v1", api::routes())
        .layer(with(web.clone(), auth::by_socket))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .with_state(web.clone())
        .merge(hooks::router(hooks).layer(with(web.clone(), refusals::write_down)))
}

/// Pages and server functions, as far as they were built. Without them API and git still work.
fn pages(web: &Web) -> Router {
    match console::options(&web.config.site_root) {
        Ok(options) => console::router(web.app(), options).layer(from_fn(auth::sign_in_first)),
        Err(missing) => {
            tracing::warn!("{missing}");
            Router::new().fallback(async || Problem(Error::not_found("entry")))
        }
    }
}

/// Differs between builds of the console: the hashes of its files, else the version.
pub fn build_id(site_root: &Path) -> String {
    let hashes = console::options(site_root).ok().and_then(|options| std::fs::read(&*options.hash_file).ok());
    let digest = Sha256::digest(hashes.as_deref().unwrap_or(env!("CARGO_PKG_VERSION").as_bytes()));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
