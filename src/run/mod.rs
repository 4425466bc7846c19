//! A run: one piece of work for a worker, from the queue to its verdict.

#[cfg(feature = "native")]
pub mod job;
mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

#[cfg(test)]
mod replacing_tests;

pub use model::*;
