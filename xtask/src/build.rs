//! Builds the console: the server's program and the browser's files.
//!
//! Compiled dependencies are shared by all clones, so cargo's output directory holds whichever clone was built last.
//! The result is therefore copied into this clone, under a lock that all clones take while they build.

use crate::hash::{Fingerprint, Stamp};
use crate::machine::Machine;
use crate::step::Step;
use crate::toolchain::Toolchain;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the result depends on. (`xtask` is not among it, nor are tests that are not compiled in.)
const SOURCES: [&str; 12] = [
    "Cargo.toml",
    "build.rs",
    "Cargo.lock",
    ".cargo/config.toml",
    "Leptos.toml",
    "src",
    "app",
    "server",
    "style",
    "public",
    "migrations",
    ".sqlx",
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    Debug,
    Release,
}

impl Profile {
    pub fn of(release: bool) -> Self {
        if release { Self::Release } else { Self::Debug }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

pub struct Console {
    /// The program `ops`.
    pub program: PathBuf,
    /// Where it finds the browser's files.
    pub site: PathBuf,
}

impl Console {
    /// What `ops` must be told about the build it belongs to.
    pub fn apply(&self, command: &mut Command) {
        command.env("LEPTOS_OUTPUT_NAME", OUTPUT_NAME).env("OPS_BIN", &self.program);
        command
            .env("LEPTOS_SITE_ROOT", &self.site)
            .env("OPS_SITE_ROOT", &self.site)
            .env("LEPTOS_HASH_FILES", "true");
    }
}

pub const OUTPUT_NAME: &str = "odooops";

pub fn console(machine: &Machine, profile: Profile) -> Result<Console> {
    let toolchain = machine.toolchain().context("no Rust for the browser")?;
    let result = console_at(machine, profile);
    let stamp = Stamp::at(machine.scratch("stamp")?.join(format!("console-{}", profile.directory())));
    let fingerprint = fingerprint(machine, &toolchain, profile)?;
    if stamp.is(&fingerprint) && result.program.exists() && result.site.join("pkg").is_dir() {
        return Ok(result);
    }
    let _lock = lock(machine)?;
    stamp.clear();
    let title = format!("build ({})", profile.directory());
    Step::new(machine, title).run(cargo_leptos(machine, profile, &result.site, &[])?)?;
    let built = toolchain.target_directory(machine).join(profile.directory());
    let home = result.program.parent().context("the program has a directory")?;
    std::fs::create_dir_all(home)?;
    replace(&built.join("ops"), &result.program)?;
    // Leptos looks for the hashes in the file names beside the program.
    replace(&built.join("hash.txt"), &home.join("hash.txt"))?;
    stamp.set(&fingerprint)?;
    Ok(result)
}

/// The optimised browser part alone, to be weighed. Returns where it is.
pub fn release_browser_part(machine: &Machine) -> Result<PathBuf> {
    let toolchain = machine.toolchain().context("no Rust for the browser")?;
    let whole = console_at(machine, Profile::Release);
    let whole_stamp = Stamp::at(machine.scratch("stamp")?.join("console-release"));
    let fingerprint = fingerprint(machine, &toolchain, Profile::Release)?;
    if whole_stamp.is(&fingerprint) && whole.site.join("pkg").is_dir() {
        return Ok(whole.site);
    }
    let site = machine.root.join("target/site-weighed");
    let stamp = Stamp::at(machine.scratch("stamp")?.join("browser-release"));
    if stamp.is(&fingerprint) && site.join("pkg").is_dir() {
        return Ok(site);
    }
    let _lock = lock(machine)?;
    stamp.clear();
    let command = cargo_leptos(machine, Profile::Release, &site, &["--frontend-only"])?;
    Step::new(machine, "build the browser part (release)").run(command)?;
    stamp.set(&fingerprint)?;
    Ok(site)
}

fn console_at(machine: &Machine, profile: Profile) -> Console {
    let site = match profile {
        Profile::Debug => "target/site",
        Profile::Release => "target/site-release",
    };
    let program = machine.root.join("target/console").join(profile.directory()).join("ops");
    Console { program, site: machine.root.join(site) }
}

fn cargo_leptos(machine: &Machine, profile: Profile, site: &Path, more: &[&str]) -> Result<Command> {
    let site = site.strip_prefix(&machine.root).context("the site lies in the clone")?;
    let mut command = machine.command("cargo");
    command.args(["leptos", "build", "--split"]).args(more).env("LEPTOS_SITE_ROOT", site);
    // Its errors are the compiler's; its own backtrace would hide them.
    command.env("RUST_BACKTRACE", "0").env("NO_COLOR", "1");
    if profile == Profile::Release {
        command.arg("--release");
    }
    Ok(command)
}

fn fingerprint(machine: &Machine, toolchain: &Toolchain, profile: Profile) -> Result<String> {
    let mut fingerprint = Fingerprint::new();
    fingerprint.add(profile.directory().as_bytes()).add(toolchain.version.as_bytes());
    Ok(fingerprint.add_paths(&machine.root, &SOURCES)?.finish())
}

/// Released when the file is closed.
fn lock(machine: &Machine) -> Result<File> {
    let path = machine.cache.join("build.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("  another clone is building; waiting for it");
        file.lock()?;
    }
    Ok(file)
}

/// By renaming: the old file may be a running program.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let staged = to.with_extension("new");
    std::fs::copy(from, &staged).with_context(|| format!("cannot copy {}", from.display()))?;
    std::fs::rename(&staged, to).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_program_can_be_replaced() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let (old, new) = (directory.path().join("ops"), directory.path().join("built"));
        std::fs::copy("/bin/sleep", &old)?;
        std::fs::copy("/bin/true", &new)?;
        let mut running = Command::new(&old).arg("60").spawn()?;
        let replaced = replace(&new, &old);
        let still_runs = running.try_wait()?.is_none();
        running.kill()?;
        running.wait()?;
        replaced?;
        assert!(still_runs);
        assert!(Command::new(&old).status()?.success(), "the new one runs now");
        Ok(())
    }

    #[test]
    fn the_output_name_is_the_one_cargo_leptos_reads() -> Result<()> {
        let machine = Machine::look()?;
        let manifest = std::fs::read_to_string(machine.root.join("Cargo.toml"))?;
        let leptos = manifest.split("[[workspace.metadata.leptos]]").nth(1).context("no leptos section")?;
        assert!(leptos.contains(&format!("name = \"{OUTPUT_NAME}\"")));
        let cargo = std::fs::read_to_string(machine.root.join(".cargo/config.toml"))?;
        assert!(cargo.contains(&format!("LEPTOS_OUTPUT_NAME = \"{OUTPUT_NAME}\"")));
        Ok(())
    }
}
