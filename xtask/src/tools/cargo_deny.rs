//! cargo-deny checks licences, sources and known holes of the dependencies.

use super::{Tool, cargo_install};
use crate::machine::output_of;
use crate::setup::Purpose;

pub const TOOL: Tool = Tool {
    name: "cargo-deny",
    why: "checks the dependencies' licences and origins (5 minutes)",
    purposes: &[Purpose::Check],
    is_there: |machine| output_of(machine.command(machine.find("cargo-deny")?).arg("--version")),
    install: |machine| cargo_install::install(machine, "cargo-deny", &["--locked"]),
};
