//! How the platform is: what an administrator looks at first, and what `ops status` ends with.

mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

#[cfg(test)]
mod tests;

pub use model::*;
