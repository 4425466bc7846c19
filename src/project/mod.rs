//! A project: one customer's Odoo, its repository and its branches.

mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

pub use model::*;
