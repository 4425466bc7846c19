//! A Rust that compiles for the browser.
//!
//! Most people have rustup, which fetches the target. Where it cannot, Debian has a matching set of compiler, cargo
//! and library source; the library for the browser is built from that source once and put beside the others.

use super::{Tool, debian};
use crate::machine::{Machine, output_of};
use crate::setup::Purpose;
use crate::step::Step;
use crate::toolchain::{WASM, wasm_linker};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy", "rustfmt-web"];

pub const TOOL: Tool = Tool {
    name: "Rust for the browser",
    why: "compiles the console to WebAssembly (rustup's target; else Debian's Rust, 2 minutes, 1 GB)",
    purposes: &[Purpose::Up, Purpose::Test, Purpose::Check],
    is_there: |machine| machine.toolchain().map(|toolchain| toolchain.version),
    install,
};

fn install(machine: &Machine) -> Result<()> {
    if !by_rustup(machine)? {
        println!("  rustup cannot add the browser target here; Debian's Rust it is");
        by_debian(machine)?;
    }
    machine.forget_toolchain();
    Ok(())
}

fn by_rustup(machine: &Machine) -> Result<bool> {
    if machine.find("rustup").is_none() {
        return Ok(false);
    }
    let mut command = machine.command("rustup");
    command.args(["target", "add", WASM]);
    Step::new(machine, "rustup: browser target").within(Duration::from_secs(180)).attempt(command)?;
    machine.forget_toolchain();
    Ok(machine.toolchain().is_some())
}

fn by_debian(machine: &Machine) -> Result<()> {
    if !machine.is_debian_like() {
        bail!(
            "rustup cannot add the target {WASM} and there is no apt here: install a Rust that has this target"
        );
    }
    debian::install(machine, &PACKAGES)?;
    if wasm_linker().is_none() {
        debian::install(machine, &["lld"])?;
    }
    machine.forget_toolchain();
    // The packages may have been there before, with a library that still fits.
    if machine.toolchain().is_none() {
        build_library(machine)?;
    }
    Ok(())
}

/// `-Zbuild-std` is unstable, which the compiler lets pass when told so; the result is an ordinary library.
fn build_library(machine: &Machine) -> Result<()> {
    let project = machine.scratch("browser-library")?;
    std::fs::create_dir_all(project.join("src"))?;
    std::fs::write(project.join("src/lib.rs"), "")?;
    // Its own workspace: it lies inside ours.
    let manifest = "[package]\nname = \"carrier\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n";
    std::fs::write(project.join("Cargo.toml"), manifest)?;
    let mut command = machine.command("/usr/bin/cargo");
    command.current_dir(&project).env("PATH", machine.path(Some(Path::new("/usr/bin"))));
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", project.join("target"));
    command.args(["build", "--release", "-Zbuild-std=std,panic_abort", "--target", WASM]);
    Step::new(machine, "Rust for the browser: library").run(command)?;
    let built = project.join("target").join(WASM).join("release/deps");
    let sysroot = output_of(machine.command("/usr/bin/rustc").args(["--print", "sysroot"]));
    let sysroot = PathBuf::from(sysroot.context("/usr/bin/rustc does not run")?);
    copy_libraries(machine, &built, &sysroot.join("lib/rustlib").join(WASM).join("lib"))?;
    std::fs::remove_dir_all(&project).context("cannot remove the library's build directory")
}

fn copy_libraries(machine: &Machine, from: &Path, to: &Path) -> Result<()> {
    let mut remove = machine.as_root("rm")?;
    remove.args(["-rf", "--"]).arg(to); // those of an older compiler
    let mut create = machine.as_root("install")?;
    create.args(["-d", "-m", "755"]).arg(to);
    let mut copy = machine.as_root("install")?;
    copy.args(["-m", "644", "-t"]).arg(to);
    let libraries = libraries_in(from)?;
    if libraries.is_empty() {
        bail!("no library was built in {}", from.display());
    }
    copy.args(libraries);
    for mut command in [remove, create, copy] {
        let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        if !status.success() {
            bail!("cannot put the browser's library into {}: {status}", to.display());
        }
    }
    Ok(())
}

fn libraries_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.ends_with(".rlib") && !name.starts_with("libcarrier-")
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(is_library).collect())
}
