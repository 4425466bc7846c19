//! wasm-bindgen, of exactly the version the browser part is compiled against.

use super::{Tool, cargo_install};
use crate::machine::{Machine, output_of};
use crate::setup::Purpose;
use anyhow::{Context, Result};

pub const TOOL: Tool = Tool {
    name: "wasm-bindgen",
    why: "connects WebAssembly with the page; exactly Cargo.lock's version (3 minutes)",
    purposes: &[Purpose::Up, Purpose::Test, Purpose::Check],
    is_there,
    install,
};

fn is_there(machine: &Machine) -> Option<String> {
    let wanted = wanted(machine).ok()?;
    let text = output_of(machine.command(machine.find("wasm-bindgen")?).arg("--version"))?;
    (text.split_whitespace().nth(1)? == wanted).then_some(text)
}

fn install(machine: &Machine) -> Result<()> {
    let wanted = wanted(machine)?;
    // Without --locked: the lock file of some releases does not resolve any more.
    cargo_install::install(machine, "wasm-bindgen-cli", &["--version", &wanted, "--force"])
}

fn wanted(machine: &Machine) -> Result<String> {
    let lock = std::fs::read_to_string(machine.root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    locked_version(&lock, "wasm-bindgen").context("wasm-bindgen is not in Cargo.lock")
}

fn locked_version(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    version.strip_suffix('"').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locked_version_is_that_of_the_very_package() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.60\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\nsource = \"x\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen").as_deref(), Some("0.2.130"));
        assert_eq!(locked_version(lock, "absent"), None);
    }

    #[test]
    fn this_workspaces_lock_file_names_one() -> Result<()> {
        wanted(&Machine::look()?).map(drop)
    }
}
