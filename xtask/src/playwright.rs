//! The browser tests: Playwright drives the system's Chromium against an `ops up` that its set-up starts.

use crate::build::{self, Console};
use crate::hash::{Fingerprint, Stamp};
use crate::machine::Machine;
use crate::report::{self, Tally};
use crate::step::{Step, show_log};
use crate::tools;
use anyhow::{Context, Result};
use std::path::Path;

/// Every browser test.
pub fn run(machine: &Machine, console: &Console) -> Result<Tally> {
    let directory = machine.root.join("end2end");
    if !has_tests(&directory.join("tests")) {
        println!("  no browser tests in end2end/tests");
        return Ok(Tally::default());
    }
    play(machine, console, "browser tests", &[])
}

/// The same pages made of the optimised browser part: other code than the debug build's, which is all that the other
/// tests run. The server's program is the same.
pub fn run_optimised(machine: &Machine, console: Console) -> Result<Tally> {
    let optimised = Console { site: build::release_browser_part(machine)?, ..console };
    play(machine, &optimised, "browser tests, optimised pages", &["tests/15-alive.spec.ts"])
}

fn play(machine: &Machine, console: &Console, title: &str, arguments: &[&str]) -> Result<Tally> {
    let directory = machine.root.join("end2end");
    install(machine, &directory)?;
    let report = machine.scratch("playwright")?.join("report.json");
    let _ = std::fs::remove_file(&report);
    let mut command = machine.command(directory.join("node_modules/.bin/playwright"));
    command.arg("test").args(arguments).current_dir(&directory).env("CI", "1");
    console.apply(&mut command);
    command.env("PLAYWRIGHT_JSON_OUTPUT_NAME", &report);
    if let Some(chromium) = tools::chromium_path() {
        command.env("CHROMIUM", chromium);
    }
    let finished = Step::new(machine, title).attempt(command)?;
    if !finished.succeeded() {
        show_log(&finished);
    }
    let text = std::fs::read_to_string(&report).context("Playwright wrote no report: it did not run")?;
    Ok(report::playwright(&text)?.judged_by(finished.succeeded()))
}

/// Again only when the lock file changes.
fn install(machine: &Machine, directory: &Path) -> Result<()> {
    let fingerprint =
        Fingerprint::new().add_paths(directory, &["package.json", "package-lock.json"])?.finish();
    let stamp = Stamp::at(machine.scratch("stamp")?.join("npm"));
    let is_there = || directory.join("node_modules/.bin/playwright").exists();
    stamp.once(&fingerprint, is_there, || {
        let mut command = machine.command("npm");
        command.args(["ci", "--no-fund", "--no-audit"]).current_dir(directory);
        // The system's Chromium is used; Playwright's own would be downloaded for nothing.
        command.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
        Step::new(machine, "npm: Playwright").run(command).map(drop)
    })
}

fn has_tests(directory: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        path.is_dir() && has_tests(&path) || path.to_str().is_some_and(|p| p.ends_with(".spec.ts"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_at_any_depth() -> Result<()> {
        let directory = tempfile::tempdir()?;
        assert!(!has_tests(directory.path()));
        std::fs::create_dir(directory.path().join("board"))?;
        std::fs::write(directory.path().join("board/helper.ts"), "")?;
        assert!(!has_tests(directory.path()));
        std::fs::write(directory.path().join("board/drag.spec.ts"), "")?;
        assert!(has_tests(directory.path()));
        Ok(())
    }
}
