//! Programs that come from npm, into the same directory of ours as the ones from crates.

use crate::machine::Machine;
use crate::step::Step;
use anyhow::Result;
use std::path::PathBuf;

pub fn install(machine: &Machine, packages: &[&str]) -> Result<()> {
    let mut command = machine.command("npm");
    command
        .args(["install", "--global", "--no-fund", "--no-audit", "--prefix"])
        .arg(&machine.tools)
        .args(packages);
    Step::new(machine, format!("npm: {}", packages.join(" "))).run(command).map(drop)
}

/// Where Node.js finds a package, such as `name@1`, that programs of ours load. Installed when it is not there.
pub fn node_modules(machine: &Machine, package: &str) -> Result<PathBuf> {
    let modules = machine.tools.join("lib/node_modules");
    let name = package.rsplit_once('@').map_or(package, |(name, _)| name);
    if !modules.join(name).is_dir() {
        install(machine, &[package])?;
    }
    Ok(modules)
}
