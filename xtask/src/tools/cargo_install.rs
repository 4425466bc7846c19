//! Programs that come as crates. They go into a directory of ours: another project may need another version.

use crate::machine::Machine;
use crate::step::Step;
use anyhow::{Context, Result};

pub fn install(machine: &Machine, krate: &str, arguments: &[&str]) -> Result<()> {
    // Kept while it is incomplete, so that an interrupted installation goes on where it was.
    let target = machine.cache.join("install").join(krate);
    let mut command = machine.command("cargo");
    command.args(["install", krate]).args(arguments).arg("--root").arg(&machine.tools);
    command.current_dir("/").env("CARGO_TARGET_DIR", &target);
    // These run for seconds; optimising them takes minutes.
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    Step::new(machine, format!("cargo install {krate}")).run(command)?;
    std::fs::remove_dir_all(&target).with_context(|| format!("cannot remove {}", target.display()))
}
