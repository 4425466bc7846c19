//! cargo-nextest runs the Rust tests, each in a process of its own.

use super::{Tool, cargo_install};
use crate::machine::output_of;
use crate::setup::Purpose;

pub const TOOL: Tool = Tool {
    name: "cargo-nextest",
    why: "runs the Rust tests (5 minutes)",
    purposes: &[Purpose::Test],
    is_there: |machine| {
        let text = output_of(machine.command(machine.find("cargo-nextest")?).args(["nextest", "--version"]))?;
        text.lines().next().map(str::to_owned)
    },
    install: |machine| cargo_install::install(machine, "cargo-nextest", &["--locked"]),
};
