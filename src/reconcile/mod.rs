//! Wanted against real: what is outside PostgreSQL is made to follow what is in it.
//!
//! Each reconciler has a subject and takes no input: it looks, acts, and reports. All act on nothing but what carries
//! this installation's id, and on environments of their own host. What may be somebody's data is moved out of the way
//! before it is removed ([`quarantine`]), and nothing at all is taken away while the ops database and the data directory
//! disagree about the [`epoch`]. docs/RECONCILERS.md tells it from the outside.

mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;

#[cfg(feature = "native")]
mod collectors;
#[cfg(feature = "native")]
mod containers;
#[cfg(feature = "native")]
mod databases;
#[cfg(feature = "native")]
mod directories;
#[cfg(feature = "native")]
mod environments;
#[cfg(feature = "native")]
pub mod epoch;
#[cfg(feature = "native")]
mod expired_artifacts;
#[cfg(feature = "native")]
mod expired_environments;
#[cfg(feature = "native")]
mod hostnames;
#[cfg(feature = "native")]
mod images;
#[cfg(feature = "native")]
mod keeper;
#[cfg(feature = "native")]
mod look;
#[cfg(feature = "native")]
mod networks;
#[cfg(feature = "native")]
pub(crate) mod owner;
#[cfg(feature = "native")]
mod quarantine;
#[cfg(feature = "native")]
mod servers;
#[cfg(feature = "native")]
mod stuck_runs;
#[cfg(feature = "native")]
mod templates;
#[cfg(test)]
#[cfg(feature = "native")]
mod tests;
#[cfg(feature = "native")]
pub(crate) mod trouble;
#[cfg(feature = "native")]
mod volumes;

#[cfg(feature = "native")]
pub use keeper::keep_reconciling;
pub use model::*;
