//! A git branch and its stage on the board.

mod board;
mod merge;
mod model;
mod name;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

pub use board::*;
pub use merge::*;
pub use model::*;
pub use name::*;
