//! Who is looking at the page.

mod api;

pub use api::me;
