//! Log lines of runs and of the environments that they built.

mod model;
#[cfg(feature = "native")]
pub mod query;

pub use model::*;
