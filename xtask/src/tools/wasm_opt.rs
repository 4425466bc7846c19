//! wasm-opt makes the browser part small. Old ones do not know what today's compiler emits.

use super::{Tool, npm_install};
use crate::machine::{Machine, output_of};
use crate::setup::Purpose;

const OLDEST: u32 = 120;

pub const TOOL: Tool = Tool {
    name: "wasm-opt",
    why: "makes the browser part small (npm: binaryen)",
    purposes: &[Purpose::Up, Purpose::Test, Purpose::Check],
    is_there,
    install: |machine| npm_install::install(machine, &["binaryen"]),
};

fn is_there(machine: &Machine) -> Option<String> {
    let text = output_of(machine.command(machine.find("wasm-opt")?).arg("--version"))?;
    (version(&text)? >= OLDEST).then_some(text)
}

/// `wasm-opt version 132 (version_132)`
fn version(text: &str) -> Option<u32> {
    text.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_read() {
        assert_eq!(super::version("wasm-opt version 132 (version_132)"), Some(132));
        assert_eq!(super::version("wasm-opt version 108"), Some(108));
    }
}
