//! Log lines of runs and of the environments that they built.

#[cfg(feature = "native")]
mod chunk;
#[cfg(feature = "native")]
pub mod collector;
#[cfg(test)]
#[cfg(feature = "native")]
mod docker_tests;
#[cfg(feature = "native")]
mod frame;
mod model;
#[cfg(feature = "native")]
mod position;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
mod reader;
#[cfg(feature = "native")]
mod source;
#[cfg(feature = "native")]
pub mod split;
#[cfg(test)]
#[cfg(feature = "native")]
mod storage_tests;

#[cfg(feature = "native")]
pub use chunk::Collected;
pub use model::*;
