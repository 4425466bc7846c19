//! Schedules: what is done again and again, at times of a clock on the wall. One process leads; what is due becomes a
//! run in the queue in the transaction that moves the schedule on.

#[cfg(feature = "native")]
mod leader;
mod model;
#[cfg(feature = "native")]
mod query;
#[cfg(feature = "native")]
pub mod service;
#[cfg(feature = "native")]
mod task;
#[cfg(feature = "native")]
mod timing;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod leader_tests;
#[cfg(test)]
mod service_tests;

#[cfg(feature = "native")]
pub use leader::keep_leading;
pub use model::*;
#[cfg(feature = "native")]
pub use query::last_of_task;
#[cfg(feature = "native")]
pub use timing::Timing;
