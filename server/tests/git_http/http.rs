//! The part of `server/src/http` that this test is about.

#[allow(dead_code, reason = "the proxy is not part of this test")]
#[path = "../../src/http/address.rs"]
mod address;
#[allow(dead_code, reason = "other machines' reading is tried with them")]
#[path = "../../src/http/git.rs"]
pub mod git;
#[path = "../../src/http/hooks.rs"]
pub mod hooks;

pub use address::ClientAddress;
