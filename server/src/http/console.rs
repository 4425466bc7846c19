//! The console's pages, server functions and static files.
//!
//! What stands around it (sessions, Origin check, limits) is the router's; the Content-Security-Policy is
//! the page's own (`app::shell`), because it carries the nonce of the page's scripts.

use app::{App, shell, state::AppState};
use axum::{
    Router,
    extract::{FromRef, Request},
    http::{HeaderName, HeaderValue, header},
};
use leptos::{config::LeptosOptions, prelude::provide_context};
use leptos_axum::{LeptosRoutes, generate_route_list, render_app_async_with_context};
use std::{path::Path, sync::Arc};
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

/// Everything under `/pkg` and `/fonts` has a name of its own for each content.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const A_DAY: HeaderValue = HeaderValue::from_static("public, max-age=86400");

#[derive(Clone)]
struct Pages {
    options: LeptosOptions,
}

impl FromRef<Pages> for LeptosOptions {
    fn from_ref(pages: &Pages) -> Self {
        pages.options.clone()
    }
}

/// What `cargo leptos build` made lies in `site`; the names with their hashes in `hash.txt` beside it or
/// beside the program.
pub fn options(site: &Path) -> Result<LeptosOptions, String> {
    let beside_program =
        std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("hash.txt")));
    let hash_file = [Some(site.join("hash.txt")), beside_program]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
        .ok_or_else(|| {
            format!(
                "the console's files are missing ({}): build with `cargo leptos build --split`",
                site.display()
            )
        })?;
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| error.to_string());
    Ok(LeptosOptions::builder()
        .output_name("odooops")
        .site_root(absolute(site)?.to_string_lossy().into_owned())
        .site_pkg_dir("pkg")
        .hash_files(true)
        .hash_file(Arc::<str>::from(absolute(&hash_file)?.to_string_lossy()))
        .build())
}

/// `/`, `/sign-in`, `/projects/...`, `/pkg/*`, `/fonts/*`, the server functions under `/api/`, and the page for
/// what is not there. Handlers find `Actor` and `Me` in the request's extensions.
pub fn router(state: AppState, options: LeptosOptions) -> Router {
    let site = Path::new(&*options.site_root).to_owned();
    let files = |folder: &str, age: HeaderValue| {
        let dir = ServeDir::new(site.join(folder)).precompressed_br().precompressed_gzip();
        tower::ServiceBuilder::new()
            .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, age))
            .layer(nosniff())
            .service(dir)
    };
    let context = move || {
        provide_context(state.clone());
        app::request::provide_nonce();
    };
    let routes = generate_route_list(App);
    let pages = Pages { options: options.clone() };
    Router::new()
        .leptos_routes_with_context(&pages, routes, context.clone(), {
            let options = options.clone();
            move || shell(options.clone())
        })
        .nest_service("/pkg", files("pkg", FOREVER))
        .nest_service("/fonts", files("fonts", FOREVER))
        .nest_service("/static", files("static", A_DAY))
        .fallback(move |request: Request| {
            let (context, options) = (context.clone(), options.clone());
            render_app_async_with_context(context, move || shell(options.clone()))(request)
        })
        .layer(nosniff())
        .with_state(pages)
}

fn nosniff() -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    )
}
