//! `cargo xtask up`: from whatever this machine is to a running OdooOps in this terminal.

use crate::build::{self, Profile};
use crate::machine::Machine;
use crate::setup::{Consent, Purpose, prepare};
use anyhow::{Result, anyhow};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

pub fn run(
    machine: &Machine,
    consent: Consent,
    profile: Profile,
    data_dir: Option<PathBuf>,
    rest: Vec<String>,
) -> Result<ExitCode> {
    prepare(machine, consent, &[Purpose::Up])?;
    let console = build::console(machine, profile)?;
    // Not `machine.command`: `ops` is the user's program, with the user's environment and directory.
    let mut ops = Command::new(&console.program);
    crate::toolchain::without_cargos_traces(&mut ops);
    console.apply(&mut ops);
    ops.arg("up");
    if let Some(directory) = data_dir {
        ops.arg("--data-dir").arg(std::path::absolute(directory)?);
    }
    ops.args(rest);
    // In our place: signals and the exit code are then between the terminal and `ops`.
    let error = ops.exec();
    Err(anyhow!("cannot start {}: {error}", console.program.display()))
}
