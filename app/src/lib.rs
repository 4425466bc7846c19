//! The console: server-rendered pages that come alive in the browser.
//!
//! A folder per noun, each with its pages, their parts, and the server functions (`api.rs`) that they call.
//! `ui/` is the design system, `frame/` what stands around every page, `live/` the page's websocket. Pages are
//! rendered whole on the server and every form works without script; the browser adds what moves.

// Views are types that nest as deep as the page does.
#![recursion_limit = "256"]

pub mod admin;
pub mod app;
pub mod branch;
mod codec;
pub mod error;
pub mod frame;
pub mod i18n;
pub mod live;
pub mod log;
pub mod project;
#[cfg(feature = "ssr")]
pub mod request;
pub mod run;
pub mod schedule;
pub mod session;
mod shell;
#[cfg(feature = "ssr")]
pub mod state;
pub mod ui;
pub mod words;

pub use app::App;
pub use shell::shell;

#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    #[cfg(debug_assertions)]
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_lazy(App);
}
