//! The platform's own pages, for its administrators: status, queue, hosts and workers.

pub mod api;
mod dry_run;
mod fresh;
mod hosts;
mod parts;
mod quarantine;
mod queue;
mod reconcilers;
mod status;
pub mod words;

pub use fresh::keep_fresh;
pub use hosts::HostsPage;
pub use parts::{AdminPage, Outcome};
pub use queue::QueuePage;
pub use status::StatusPage;
