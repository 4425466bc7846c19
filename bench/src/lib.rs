//! What the benchmarks share. Each benchmark is a program in `bin/` that measures OdooOps from outside, by the
//! `ops` command, Git, HTTP and /proc, as its users meet it, and prints figures beside their goals.

pub mod browser;
pub mod figure;
pub mod http;
pub mod installation;
pub mod live;
pub mod log;
pub mod memory;
pub mod queue;
pub mod raw;
pub mod repository;
