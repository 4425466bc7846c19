//! Wanted against real: what is outside PostgreSQL is made to follow what is in it.

mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

pub use model::*;
