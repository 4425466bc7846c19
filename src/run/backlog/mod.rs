//! The queue as an administrator sees it: every run that has not ended, of all projects, and what it waits for.

mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

#[cfg(test)]
mod tests;

pub use model::*;
