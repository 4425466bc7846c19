//! The page's one websocket.

mod client;
mod message;

pub use client::{Live, LiveStatus, provide_live, use_live};
pub use message::*;
