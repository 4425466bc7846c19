//! The page's one websocket.

mod message;

pub use message::*;
