//! People and what they may do.

mod model;

pub use model::*;
