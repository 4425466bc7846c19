//! Which Rust compiles OdooOps.
//!
//! Both sides, server and browser, must come from one compiler, and only one that has a standard library for
//! wasm32 will do. The user's own Rust is taken when it has one; otherwise Debian's, which lives in /usr/bin and
//! gets its browser library built once (`tools/browser_target.rs`). Whether a Rust will do is found out by
//! compiling something, so a library that no longer fits its compiler counts as absent.

use crate::machine::{Machine, output_of};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const WASM: &str = "wasm32-unknown-unknown";

#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The directory of rustc and cargo, when it is not what PATH gives already.
    pub directory: Option<PathBuf>,
    pub version: String,
    pub wasm_linker: Option<PathBuf>,
}

impl Toolchain {
    pub fn detect(machine: &Machine) -> Option<Self> {
        let debian = Path::new("/usr/bin");
        [None, Some(debian)].into_iter().find_map(|directory| Self::in_directory(machine, directory))
    }

    fn in_directory(machine: &Machine, directory: Option<&Path>) -> Option<Self> {
        let rustc = directory.map_or(PathBuf::from("rustc"), |d| d.join("rustc"));
        let version = output_of(clean(&rustc).arg("--version"))?;
        let wanted = wanted_version(&std::fs::read_to_string(machine.root.join("Cargo.toml")).ok()?)?;
        (release_of(&version)? >= wanted && compiles_for_browser(machine, &rustc)).then_some(())?;
        let wasm_linker = match std::env::var_os("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER") {
            Some(linker) => Some(linker.into()),
            None => directory.and_then(|_| wasm_linker()),
        };
        Some(Self { directory: directory.map(Path::to_path_buf), version, wasm_linker })
    }

    pub fn is_debians(&self) -> bool {
        self.directory.is_some()
    }

    pub fn apply(&self, machine: &Machine, command: &mut Command) {
        command.env("PATH", machine.path(self.directory.as_deref()));
        command.env("CARGO_TARGET_DIR", self.target_directory(machine));
        if let Some(linker) = &self.wasm_linker {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        // A committed description of every query stands in for a database at compile time.
        command.env("SQLX_OFFLINE", "true");
    }

    /// Outside the clone, so that clones share compiled dependencies; one per compiler, so that they never mix.
    pub fn target_directory(&self, machine: &Machine) -> PathBuf {
        match std::env::var_os("CARGO_TARGET_DIR") {
            Some(path) => machine.root.join(path),
            None if self.is_debians() => machine.cache.join("target"),
            None => machine.cache.join("target-rustup"),
        }
    }
}

/// cargo tells the programs it runs which package they belong to and where its own libraries are. A cargo that
/// xtask starts must not take that for its own, least of all when it is another version.
pub fn without_cargos_traces(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        let key = key.to_string_lossy().into_owned();
        if key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_") {
            command.env_remove(key);
        }
    }
    for key in ["CARGO", "CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(key);
    }
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        let theirs =
            |p: &PathBuf| !p.components().any(|c| c.as_os_str() == ".rustup" || c.as_os_str() == "target");
        match std::env::join_paths(std::env::split_paths(&path).filter(theirs)) {
            Ok(rest) if !rest.is_empty() => command.env("LD_LIBRARY_PATH", rest),
            _ => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
}

fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    without_cargos_traces(&mut command);
    command
}

fn compiles_for_browser(machine: &Machine, rustc: &Path) -> bool {
    let Ok(directory) = machine.scratch("probe") else { return false };
    let source = directory.join("probe.rs");
    if std::fs::write(&source, "pub fn probe() -> String { String::new() }\n").is_err() {
        return false;
    }
    let mut command = clean(rustc);
    command.args(["--crate-type=lib", "--emit=metadata", "--target", WASM, "--out-dir"]).arg(&directory);
    command.arg(&source).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}

/// Debian's Rust has no linker for the browser: rustup's copy of lld, or Debian's own.
pub fn wasm_linker() -> Option<PathBuf> {
    let rustup = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".rustup")));
    let host = format!("lib/rustlib/{}-unknown-linux-gnu/bin/rust-lld", std::env::consts::ARCH);
    let mut found: Vec<PathBuf> = rustup
        .and_then(|rustup| std::fs::read_dir(rustup.join("toolchains")).ok())
        .map(|entries| entries.flatten().map(|e| e.path().join(&host)).filter(|p| p.exists()).collect())
        .unwrap_or_default();
    found.sort();
    let versioned = (14..40).rev().map(|v| PathBuf::from(format!("/usr/bin/wasm-ld-{v}")));
    let debian = std::iter::once(PathBuf::from("/usr/bin/wasm-ld")).chain(versioned).find(|p| p.exists());
    found.into_iter().next().or(debian)
}

/// `rustc 1.96.0 (...)` -> (1, 96)
fn release_of(version: &str) -> Option<(u32, u32)> {
    parse_release(version.split_whitespace().nth(1)?)
}

/// The workspace's `rust-version`.
fn wanted_version(manifest: &str) -> Option<(u32, u32)> {
    let line = manifest.lines().find(|line| line.trim_start().starts_with("rust-version"))?;
    parse_release(line.split('"').nth(1)?)
}

fn parse_release(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_from_what_rustc_prints() {
        assert_eq!(
            release_of("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"),
            Some((1, 96))
        );
        assert_eq!(release_of("rustc 1.97.0-nightly (0000 2026-05-25)"), Some((1, 97)));
        assert_eq!(release_of("command not found"), None);
    }

    #[test]
    fn an_older_compiler_compares_as_older() {
        let wanted = wanted_version("[workspace.package]\nrust-version = \"1.95\"\n");
        assert_eq!(wanted, Some((1, 95)));
        assert!(release_of("rustc 1.100.0 (x)") > wanted);
        assert!(release_of("rustc 1.9.0 (x)") < wanted);
    }
}
