//! Builds the console: the server's program and the browser's files.
//!
//! Compiled dependencies are shared by all clones, so cargo's output directory holds whichever clone was built last.
//! The result is therefore copied into this clone, under a lock that all clones take while they build.

use crate::hash::{Fingerprint, Stamp};
use crate::machine::Machine;
use crate::sources;
use crate::step::Step;
use crate::toolchain::Toolchain;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        command.env("OPS_BIN", &self.program).env("OPS_SITE_ROOT", &self.site);
    }
}

pub const OUTPUT_NAME: &str = "odooops";
/// Where `ops` looks up the hashes in the names of the browser's files.
const HASHES: &str = "hash.txt";

pub fn console(machine: &Machine, profile: Profile) -> Result<Console> {
    let toolchain = machine.toolchain().context("no Rust for the browser")?;
    let console = console_at(machine, profile);
    let stamp = whole(machine, profile)?;
    let fingerprint = fingerprint(machine, &toolchain, profile)?;
    let is_there = || console.program.exists() && has_site(&console.site);
    once(machine, &stamp, &fingerprint, is_there, || {
        let title = format!("build ({})", profile.directory());
        let built = cargo_leptos(machine, &toolchain, profile, &title, &console.site, &[])?;
        sources::check_covers(&built.join("ops.d"), &machine.root)?;
        let home = console.program.parent().context("the program has a directory")?;
        std::fs::create_dir_all(home)?;
        replace(&built.join("ops"), &console.program)
    })?;
    Ok(console)
}

/// The optimised browser part, to be weighed and tried. Returns where it is.
pub fn release_browser_part(machine: &Machine) -> Result<PathBuf> {
    let toolchain = machine.toolchain().context("no Rust for the browser")?;
    let profile = Profile::Release;
    let fingerprint = fingerprint(machine, &toolchain, profile)?;
    let site = console_at(machine, profile).site;
    if whole(machine, profile)?.is(&fingerprint) && has_site(&site) {
        return Ok(site);
    }
    let site = machine.root.join("target/site-weighed");
    let stamp = Stamp::at(machine.scratch("stamp")?.join("browser-release"));
    once(
        machine,
        &stamp,
        &fingerprint,
        || has_site(&site),
        || {
            let title = "build the browser part (release)";
            cargo_leptos(machine, &toolchain, profile, title, &site, &["--frontend-only"]).map(drop)
        },
    )?;
    Ok(site)
}

fn whole(machine: &Machine, profile: Profile) -> Result<Stamp> {
    Ok(Stamp::at(machine.scratch("stamp")?.join(format!("console-{}", profile.directory()))))
}

fn has_site(site: &Path) -> bool {
    site.join("pkg").is_dir() && site.join(HASHES).is_file()
}

/// One clone at a time builds, and each what it has not built yet.
fn once(
    machine: &Machine,
    stamp: &Stamp,
    fingerprint: &str,
    is_there: impl Fn() -> bool,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    if stamp.is(fingerprint) && is_there() {
        return Ok(());
    }
    let _lock = lock(machine)?;
    // Asked again: who held the lock may have built this very clone.
    stamp.once(fingerprint, is_there, work)
}

fn console_at(machine: &Machine, profile: Profile) -> Console {
    let site = match profile {
        Profile::Debug => "target/site",
        Profile::Release => "target/site-release",
    };
    let program = machine.root.join("target/console").join(profile.directory()).join("ops");
    Console { program, site: machine.root.join(site) }
}

fn arguments(profile: Profile) -> &'static [&'static str] {
    match profile {
        Profile::Debug => &["leptos", "build", "--split"],
        // Compressed once here instead of for every visitor.
        Profile::Release => &["leptos", "build", "--split", "--release", "--precompress"],
    }
}

/// Returns where cargo put what it built.
fn cargo_leptos(
    machine: &Machine,
    toolchain: &Toolchain,
    profile: Profile,
    title: &str,
    site: &Path,
    more: &[&str],
) -> Result<PathBuf> {
    let relative = site.strip_prefix(&machine.root).context("the site lies in the clone")?;
    let mut command = machine.command("cargo");
    command.args(arguments(profile)).args(more).env("LEPTOS_SITE_ROOT", relative);
    // Its errors are the compiler's; its own backtrace would hide them.
    command.env("RUST_BACKTRACE", "0").env("NO_COLOR", "1");
    Step::new(machine, title).run(command)?;
    let built = toolchain.target_directory(machine).join(profile.directory());
    // The hashes in the files' names belong to the files, not to the program that clones overwrite in turn.
    replace(&built.join(HASHES), &site.join(HASHES))?;
    Ok(built)
}

fn fingerprint(machine: &Machine, toolchain: &Toolchain, profile: Profile) -> Result<String> {
    let mut fingerprint = Fingerprint::new();
    fingerprint.add(toolchain.version.as_bytes());
    for argument in arguments(profile) {
        fingerprint.add(argument.as_bytes());
    }
    Ok(fingerprint.add_paths(&machine.root, &sources::ALL)?.finish())
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
    use std::collections::BTreeMap;

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

    /// `key = value` of a file's Leptos section.
    fn leptos_section(file: &str) -> Result<BTreeMap<String, String>> {
        let text = std::fs::read_to_string(Machine::look()?.root.join(file))?;
        let (_, section) = text.split_once("[[workspace.metadata.leptos]]\n").context("no leptos section")?;
        let settings = section.lines().take_while(|line| !line.starts_with('[')).filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            (!line.starts_with('#')).then(|| (key.trim().to_owned(), value.trim().to_owned()))
        });
        Ok(settings.collect())
    }

    #[test]
    fn the_program_looks_for_the_files_under_the_names_that_the_build_gives_them() -> Result<()> {
        let (build, mut run) = (leptos_section("Cargo.toml")?, leptos_section("Leptos.toml")?);
        let name = run.remove("output-name").context("Leptos.toml names the output")?;
        assert_eq!(name, format!("{OUTPUT_NAME:?}"));
        assert_eq!(build.get("name"), Some(&name));
        assert!(!run.is_empty());
        for (key, value) in run {
            assert_eq!(build.get(&key), Some(&value), "{key} differs between Cargo.toml and Leptos.toml");
        }
        let cargo = std::fs::read_to_string(Machine::look()?.root.join(".cargo/config.toml"))?;
        assert!(cargo.contains(&format!("LEPTOS_OUTPUT_NAME = {name}")));
        Ok(())
    }

    #[test]
    fn a_release_is_compressed_and_the_fingerprint_knows_how_a_build_is_made() -> Result<()> {
        assert!(arguments(Profile::Release).contains(&"--precompress"));
        let machine = Machine::look()?;
        let toolchain = machine.toolchain().context("no Rust for the browser")?;
        let of = |profile| fingerprint(&machine, &toolchain, profile);
        assert_ne!(of(Profile::Debug)?, of(Profile::Release)?);
        Ok(())
    }
}
