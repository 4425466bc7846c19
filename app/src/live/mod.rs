//! The page's one websocket: what is shown stays true without a reload.

mod client;
mod message;

pub use client::{Link, Live};
pub use message::*;
