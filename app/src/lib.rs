//! The console.

pub mod live;
#[cfg(feature = "ssr")]
pub mod state;
