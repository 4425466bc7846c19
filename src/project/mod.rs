//! A project: one customer's Odoo, its repository and its branches.

#[cfg(feature = "native")]
pub mod demo;
mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

pub use model::*;
