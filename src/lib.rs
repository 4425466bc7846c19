//! The domain of OdooOps. A folder per noun; what needs an operating system is behind the feature `native`,
//! everything else compiles for the browser too.

pub mod branch;
pub mod environment;
pub mod error;
pub mod host;
pub mod id;
pub mod log;
pub mod odoo;
pub mod project;
pub mod reconcile;
pub mod run;
pub mod schedule;
pub mod status;
pub mod urls;
pub mod user;

#[cfg(feature = "native")]
pub mod access;
#[cfg(feature = "native")]
pub mod address;
#[cfg(feature = "native")]
pub mod audit;
#[cfg(feature = "native")]
pub mod config;
#[cfg(feature = "native")]
pub mod docker;
#[cfg(feature = "native")]
pub mod git;
#[cfg(feature = "native")]
pub mod node;
#[cfg(feature = "native")]
pub mod postgres;
#[cfg(feature = "native")]
pub mod proxy;
#[cfg(feature = "native")]
pub mod queue;
#[cfg(feature = "native")]
pub mod retention;
#[cfg(feature = "native")]
pub mod session;

pub use error::{Detail, Error, Result};
