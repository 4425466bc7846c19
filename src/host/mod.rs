//! A host: a machine with one Docker daemon and the worker that drives it.

#[cfg(feature = "native")]
pub mod labels;
mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

#[cfg(test)]
mod tests;

pub use model::*;
