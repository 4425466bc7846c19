//! The HTTP doors against a real database: as nobody, as each role, and as a stranger.

mod command_line;
mod coverage;
mod files;
mod fixture;
mod functions;
mod inside;
mod joining;
mod live;
mod matrix;
mod refusals;
mod session;
mod streams;

use fixture::{Fixture, Who};
