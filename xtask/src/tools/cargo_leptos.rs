//! cargo-leptos builds both sides of the console and splits the browser part.

use super::{Tool, cargo_install};
use crate::machine::output_of;
use crate::setup::Purpose;

pub const TOOL: Tool = Tool {
    name: "cargo-leptos",
    why: "builds the console's two sides (10 minutes on two cores, once)",
    purposes: &[Purpose::Up, Purpose::Test, Purpose::Check],
    is_there: |machine| output_of(machine.command(machine.find("cargo-leptos")?).arg("--version")),
    install: |machine| cargo_install::install(machine, "cargo-leptos", &["--locked"]),
};
