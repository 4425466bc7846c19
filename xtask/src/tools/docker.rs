//! A Docker daemon that answers: the one that runs, else one that is installed and started.

use super::{Tool, debian};
use crate::docker::{answers, start};
use crate::machine::Machine;
use crate::setup::Purpose;
use anyhow::Result;

pub const TOOL: Tool = Tool {
    name: "Docker",
    why: "runs the environments' containers; the daemon is installed if there is none, and started",
    purposes: &[Purpose::Image, Purpose::Up, Purpose::Test],
    is_there: answers,
    install,
};

fn install(machine: &Machine) -> Result<()> {
    if machine.find("dockerd").is_none() {
        // iptables: dockerd needs it and only recommends it.
        debian::install(machine, &["docker.io", "iptables", "cgroupfs-mount"])?;
    }
    start(machine)
}
