//! The list of projects, where everything begins.

pub mod api;
mod create;
mod page;

pub use page::ProjectsPage;
