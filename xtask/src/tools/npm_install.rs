//! Programs that come from npm, into the same directory of ours as the ones from crates.

use crate::machine::Machine;
use crate::step::Step;
use anyhow::Result;

pub fn install(machine: &Machine, packages: &[&str]) -> Result<()> {
    let mut command = machine.command("npm");
    command
        .args(["install", "--global", "--no-fund", "--no-audit", "--prefix"])
        .arg(&machine.tools)
        .args(packages);
    Step::new(machine, format!("npm: {}", packages.join(" "))).run(command).map(drop)
}
