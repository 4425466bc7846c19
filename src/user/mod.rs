//! People and what they may do.

mod model;
#[cfg(feature = "native")]
pub mod query;

pub use model::*;
