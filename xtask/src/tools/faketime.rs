//! libfaketime: a worker whose clock jumps, for the fault tests.

use super::{Tool, debian};
use crate::machine::Machine;
use crate::setup::Purpose;
use anyhow::Result;
use std::fs;

pub const TOOL: Tool = Tool {
    name: "libfaketime",
    why: "lets the fault tests set back the clock of one process",
    purposes: &[Purpose::Test],
    is_there: path,
    install,
};

/// Debian keeps it in a folder of the machine's architecture.
fn path(_: &Machine) -> Option<String> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("faketime"));
    let library = folders.map(|folder| folder.join("libfaketimeMT.so.1")).find(|library| library.is_file());
    library.map(|library| library.display().to_string())
}

fn install(machine: &Machine) -> Result<()> {
    debian::install(machine, &["libfaketime"])
}
