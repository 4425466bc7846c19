//! Packages of the operating system. Where there is no apt, the user is told what to install.

use crate::machine::Machine;
use crate::step::Step;
use anyhow::{Result, bail};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

static LISTS_ARE_FRESH: AtomicBool = AtomicBool::new(false);

pub fn install(machine: &Machine, packages: &[&str]) -> Result<()> {
    if !machine.is_debian_like() {
        bail!("install these yourself, there is no apt here: {}", packages.join(" "));
    }
    if !LISTS_ARE_FRESH.swap(true, Ordering::Relaxed) {
        Step::new(machine, "apt: package lists").run(apt_get(machine, &["update"])?)?;
    }
    let mut command = apt_get(machine, &["install", "-y", "--no-install-recommends"])?;
    command.args(packages);
    Step::new(machine, format!("apt: {}", packages.join(" "))).run(command).map(drop)
}

fn apt_get(machine: &Machine, arguments: &[&str]) -> Result<Command> {
    let mut command = machine.as_root("env")?;
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments);
    Ok(command)
}
