//! Node.js and npm: Tailwind, wasm-opt and Playwright come from there. Distributions' Node is often too old for them;
//! npm itself brings a newer one, into our own directory.

use super::{Tool, debian, npm_install};
use crate::machine::{Machine, output_of};
use crate::setup::Purpose;
use anyhow::Result;

/// Below that, Tailwind has no native part.
const OLDEST: u32 = 20;
const WANTED: &str = "node@22";

pub const TOOL: Tool = Tool {
    name: "Node.js and npm",
    why: "Tailwind, wasm-opt and the browser tests come from npm",
    purposes: &[Purpose::Up, Purpose::Test, Purpose::Check],
    is_there,
    install,
};

fn install(machine: &Machine) -> Result<()> {
    if machine.find("npm").is_none() {
        debian::install(machine, &["nodejs", "npm"])?;
    }
    if is_there(machine).is_none() {
        npm_install::install(machine, &[WANTED])?;
    }
    Ok(())
}

fn is_there(machine: &Machine) -> Option<String> {
    let version = output_of(machine.command("node").arg("--version"))?;
    machine.find("npm")?;
    (major(&version)? >= OLDEST).then_some(version)
}

fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_major_version_is_read() {
        assert_eq!(super::major("v20.19.2"), Some(20));
        assert_eq!(super::major("20"), None);
    }
}
