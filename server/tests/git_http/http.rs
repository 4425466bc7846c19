//! The part of `server/src/http` that this test is about.

#[path = "../../src/http/git.rs"]
pub mod git;
#[path = "../../src/http/hooks.rs"]
pub mod hooks;
