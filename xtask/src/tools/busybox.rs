//! busybox, linked statically: what the tests' images consist of.

use super::{Tool, debian};
use crate::machine::Machine;
use crate::setup::Purpose;
use anyhow::Result;
use std::path::Path;

const PROGRAM: &str = "/bin/busybox";

pub const TOOL: Tool = Tool {
    name: "busybox-static",
    why: "the whole of the small images that tests start containers from",
    purposes: &[Purpose::Test],
    is_there: |_| Path::new(PROGRAM).is_file().then(|| PROGRAM.to_owned()),
    install,
};

fn install(machine: &Machine) -> Result<()> {
    debian::install(machine, &["busybox-static"])
}
