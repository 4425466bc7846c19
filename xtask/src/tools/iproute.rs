//! `ip`: the loopback of a network namespace, for the fault tests.

use super::{Tool, debian};
use crate::machine::Machine;
use crate::setup::Purpose;
use anyhow::Result;

pub const TOOL: Tool = Tool {
    name: "iproute2",
    why: "fault tests have a network of their own",
    purposes: &[Purpose::Test],
    is_there: |machine| machine.find("ip").map(|path| path.display().to_string()),
    install,
};

fn install(machine: &Machine) -> Result<()> {
    debian::install(machine, &["iproute2"])
}
