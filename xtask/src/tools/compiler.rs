//! The C compiler and linker that some crates, and every Rust program, need.

use super::{Tool, debian};
use crate::setup::Purpose;

pub const TOOL: Tool = Tool {
    name: "C compiler",
    why: "links every Rust program",
    purposes: &[Purpose::Up, Purpose::Test, Purpose::Check],
    is_there: |machine| machine.find("cc").map(|path| path.display().to_string()),
    install: |machine| debian::install(machine, &["build-essential", "pkg-config"]),
};
