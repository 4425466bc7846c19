//! `/live`: the page's one websocket. PostgreSQL announces what changed; one listener per process hears it and
//! tells every socket; each socket reads again what its page shows. Nothing that a reader has not taken yet is
//! kept for it, so a slow browser costs a task and the message that it is being sent, and slows nobody.

mod ask;
mod hub;
mod limits;
mod snapshot;
mod socket;
mod subscription;
mod tail;
mod upgrade;

pub use hub::{Change, Hub};
pub use upgrade::upgrade;

/// How often rights are asked for again. What was revoked ends within five seconds.
pub const RECHECK: std::time::Duration = std::time::Duration::from_secs(4);
