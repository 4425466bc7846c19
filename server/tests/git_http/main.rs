//! Git over HTTP with the real parts: git as client, `http-backend`, the hooks as links to the built `ops`, and a
//! PostgreSQL of the test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod cluster;
mod http;
mod platform;

// The binary has no library: its modules are compiled into this test.
#[path = "../../src/hook.rs"]
#[allow(dead_code, reason = "the binary calls what this test does not")]
mod hook;
mod pushes;
mod reconciling;
mod refusals;
#[path = "../../src/ssh.rs"]
mod ssh;
