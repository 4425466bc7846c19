//! An environment: one running (or stopped) Odoo with a database of its own.

mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

pub use model::*;
