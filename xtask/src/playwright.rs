//! The browser tests: Playwright drives the system's Chromium against an `ops up` that its set-up starts.

use crate::build::Console;
use crate::hash::{Fingerprint, Stamp};
use crate::machine::Machine;
use crate::report::{self, Tally};
use crate::step::{Step, show_log};
use crate::tools;
use anyhow::{Context, Result};
use std::path::Path;

pub fn run(machine: &Machine, console: &Console) -> Result<Tally> {
    let directory = machine.root.join("end2end");
    if !has_tests(&directory.join("tests")) {
        println!("  no browser tests in end2end/tests");
        return Ok(Tally::default());
    }
    install(machine, &directory)?;
    let report = machine.scratch("playwright")?.join("report.json");
    let _ = std::fs::remove_file(&report);
    let mut command = machine.command(directory.join("node_modules/.bin/playwright"));
    command.arg("test").current_dir(&directory).env("CI", "1");
    console.apply(&mut command);
    command.env("PLAYWRIGHT_JSON_OUTPUT_NAME", &report);
    if let Some(chromium) = tools::chromium_path() {
        command.env("CHROMIUM", chromium);
    }
    let finished = Step::new(machine, "browser tests").attempt(command)?;
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
    if stamp.is(&fingerprint) && directory.join("node_modules/.bin/playwright").exists() {
        return Ok(());
    }
    stamp.clear();
    let mut command = machine.command("npm");
    command.args(["ci", "--no-fund", "--no-audit"]).current_dir(directory);
    // The system's Chromium is used; Playwright's own would be downloaded for nothing.
    command.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    Step::new(machine, "npm: Playwright").run(command)?;
    stamp.set(&fingerprint)
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
