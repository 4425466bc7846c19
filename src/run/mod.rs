//! A run: one piece of work for a worker, from the queue to its verdict.

pub mod backlog;
#[cfg(feature = "native")]
pub mod job;
mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

#[cfg(test)]
mod lifecycle_tests;
#[cfg(test)]
mod replacing_tests;

pub(crate) use model::text_enum;
pub use model::*;
