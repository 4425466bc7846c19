//! The console's pages, server functions and static files.
//!
//! What stands around it is the router's: sessions, Origin check, limits, and the headers of `csp`, whose nonce the
//! pages give to their scripts.

mod files;

use super::refusals;
use app::{App, shell, state::AppState};
use axum::{
    Router,
    extract::{FromRef, Request},
};
use files::{Kept, folder};
use leptos::{
    config::{LeptosOptions, get_config_from_str},
    prelude::provide_context,
};
use leptos_axum::{LeptosRoutes, generate_route_list, render_app_async_with_context};
use std::{path::Path, sync::Arc};

/// Compiled in: the program runs where there is no source.
const LEPTOS: &str = include_str!("../../../Leptos.toml");

#[derive(Clone)]
struct Pages {
    options: LeptosOptions,
}

impl FromRef<Pages> for LeptosOptions {
    fn from_ref(pages: &Pages) -> Self {
        pages.options.clone()
    }
}

/// What `cargo leptos build` made lies in `site`; the hashes in its names are told by `hash.txt` there (from `xtask`)
/// or beside the program (from cargo-leptos alone).
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
    let mut options = get_config_from_str(LEPTOS).map_err(|error| format!("Leptos.toml: {error}"))?;
    options.site_root = absolute(site)?.to_string_lossy().into();
    options.hash_file = Arc::<str>::from(absolute(&hash_file)?.to_string_lossy());
    Ok(options)
}

/// `/`, `/sign-in`, `/projects/...`, `/pkg/*`, `/fonts/*`, the server functions under `/api/`, and the page for
/// what is not there. Handlers find `Actor` and `Me` in the request's extensions.
pub fn router(state: AppState, options: LeptosOptions) -> Router {
    let site = Path::new(&*options.site_root).to_owned();
    let context = move || {
        provide_context(state.clone());
        app::request::provide_nonce();
    };
    refusals::follow_pages();
    let routes = generate_route_list(App);
    let pages = Pages { options: options.clone() };
    Router::new()
        .leptos_routes_with_context(&pages, routes, context.clone(), {
            let options = options.clone();
            move || shell(options.clone())
        })
        .nest_service("/pkg", folder(&site.join("pkg"), Kept::Forever))
        .nest_service("/fonts", folder(&site.join("fonts"), Kept::ADay))
        .nest_service("/static", folder(&site.join("static"), Kept::ADay))
        .fallback(move |request: Request| {
            let (context, options) = (context.clone(), options.clone());
            render_app_async_with_context(context, move || shell(options.clone()))(request)
        })
        .with_state(pages)
}
