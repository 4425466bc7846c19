//! Node.js and npm: Tailwind, wasm-opt and Playwright come from there.

use super::{Tool, debian};
use crate::machine::{Machine, output_of};
use crate::setup::Purpose;

const OLDEST: u32 = 18;

pub const TOOL: Tool = Tool {
    name: "Node.js and npm",
    why: "Tailwind, wasm-opt and the browser tests come from npm",
    purposes: &[Purpose::Up, Purpose::Test, Purpose::Check],
    is_there,
    install: |machine| debian::install(machine, &["nodejs", "npm"]),
};

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
