//! Log lines of runs and of the environments that they built.

#[cfg(feature = "native")]
pub mod collector;
#[cfg(test)]
#[cfg(feature = "native")]
mod docker_tests;
mod model;
#[cfg(feature = "native")]
mod position;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod split;

pub use model::*;
