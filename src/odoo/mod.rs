//! Odoo as the platform sees it: what a commit holds, what a build must be told, how its outcome is judged. The
//! modules are read as data (no Python runs here); the one that reads log lines compiles for the browser too.

mod log_line;
pub use log_line::{Record, level_of};

#[cfg(feature = "native")]
pub mod addons;
#[cfg(feature = "native")]
pub mod conf;
#[cfg(feature = "native")]
pub mod demo;
#[cfg(feature = "native")]
pub mod fresh;
#[cfg(feature = "native")]
pub mod gate;
#[cfg(feature = "native")]
pub mod judge;
#[cfg(feature = "native")]
pub mod launch;
#[cfg(feature = "native")]
pub mod literal;
#[cfg(feature = "native")]
pub mod manifest;
#[cfg(feature = "native")]
pub mod modules;
#[cfg(feature = "native")]
pub mod password;
