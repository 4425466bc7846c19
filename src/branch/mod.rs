//! A git branch and its stage on the board.

mod board;
mod model;
mod name;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

pub use board::*;
pub use model::*;
pub use name::*;
