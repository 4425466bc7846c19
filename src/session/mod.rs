//! Who is there: console sessions, one-time sign-in links and API tokens. Their secrets are 256 random bits; the
//! database knows only SHA-256 of them, so that a copy of it signs nobody in.

mod secret;
pub mod service;

pub use secret::{Fingerprint, Secret};
