//! `/api/v1`: JSON for programs, the CLI among them. It only grows. Paths, parameters and answers are described once,
//! beside the handler, and published at `/api/v1/openapi.json`.

mod branches;
mod environments;
mod extract;
mod identity;
mod inside;
mod joining;
mod placement;
mod platform;
mod problem;
mod projects;
mod runs;
mod schedules;
mod stream;
mod watch;

pub use branches::{MoveRequest, OnPushRequest};
pub use environments::{AdminPassword, EnvironmentRequest, Queued};
pub use identity::{CreatedToken, LoginLink, NewToken};
pub use inside::FilesQuery;
pub use joining::{HostTokenRequest, Revoked};
pub use placement::{HostLimitsRequest, KindLimitRequest, LabelsRequest};
pub use platform::{DeletionRequest, DrainRequest, DryRunRequest, PriorityRequest};
pub use problem::{Problem, ProblemBody};
pub use projects::ProjectRequest;

use super::Web;
use axum::{Json, Router, extract::DefaultBodyLimit, routing::get};
use odooops::Error;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

#[derive(OpenApi)]
#[openapi(
    info(title = "OdooOps", description = "Projects, branches, runs and environments of an OdooOps installation."),
    modifiers(&Token),
    security(("token" = [])),
    components(schemas(ProblemBody)),
)]
struct Description;

/// Every operation takes an API token.
struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("token", token);
    }
}

fn described() -> OpenApiRouter<Web> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(identity::whoami))
        .routes(routes!(identity::create_login_link))
        .routes(routes!(identity::create_token, identity::list_tokens))
        .routes(routes!(identity::revoke_token))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::create_demo))
        .routes(routes!(projects::show))
        .routes(routes!(branches::list))
        .routes(routes!(branches::move_branch))
        .routes(routes!(branches::set_on_push))
        .routes(routes!(runs::list))
        .routes(routes!(runs::show))
        .routes(routes!(runs::events))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::rebuild))
        .routes(routes!(runs::attempts))
        .routes(routes!(runs::retry))
        .routes(routes!(stream::logs))
        .routes(routes!(watch::watch))
        .routes(routes!(environments::list))
        .routes(routes!(environments::create))
        .routes(routes!(environments::show, environments::destroy))
        .routes(routes!(platform::status))
        .routes(routes!(platform::queue))
        .routes(routes!(platform::set_priority))
        .routes(routes!(platform::hosts))
        .routes(routes!(platform::workers))
        .routes(routes!(platform::drain))
        .routes(routes!(platform::forget))
        .routes(routes!(platform::confirm))
        .routes(routes!(platform::request_dry_run))
        .routes(routes!(platform::dry_run))
        .routes(routes!(platform::quarantine))
        .routes(routes!(platform::restore))
        .routes(routes!(platform::delete))
        .routes(routes!(schedules::list, schedules::create))
        .routes(routes!(schedules::show, schedules::change, schedules::delete))
        .routes(routes!(schedules::run))
        .routes(routes!(schedules::runs))
        .routes(routes!(schedules::preview))
        .routes(routes!(environments::admin_password))
        .routes(routes!(inside::shell))
        .routes(routes!(inside::files))
        .routes(routes!(joining::create_token))
        .routes(routes!(joining::revoke))
        .routes(routes!(placement::set_project_labels))
        .routes(routes!(placement::set_host_labels))
        .routes(routes!(placement::set_host_limits))
        .routes(routes!(placement::set_kind_limit))
}

/// What the API offers, for `openapi.json` and for the test that knows every entry.
pub fn description() -> utoipa::openapi::OpenApi {
    let mut openapi = described().split_for_parts().1;
    let paths = std::mem::take(&mut openapi.paths.paths);
    openapi.paths.paths = paths.into_iter().map(|(path, item)| (format!("/api/v1{path}"), item)).collect();
    openapi
}

pub fn routes() -> Router<Web> {
    let description = description();
    let (router, _) = described().split_for_parts();
    router
        .route("/openapi.json", get(async move || Json(description)))
        .fallback(async || Problem(Error::not_found("entry")))
        .layer(DefaultBodyLimit::max(64 * 1024))
}
