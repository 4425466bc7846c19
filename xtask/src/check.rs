//! `cargo xtask check`: what must hold beside the tests. All checks run, also after one has failed.

use crate::machine::Machine;
use crate::postgres::Cluster;
use crate::report::Tally;
use crate::setup::{Consent, Purpose, prepare};
use crate::step::{Step, show_log};
use crate::toolchain::WASM;
use crate::{bench, budget, catalogue, sqlx};
use anyhow::{Result, bail};
use std::process::{Command, ExitCode};
use std::time::Duration;

const FEATURES: [&str; 2] = ["--features", "odooops/native,app/ssr"];
/// Where the list of known holes cannot be fetched, the attempt must not hold everything up.
const ADVISORIES: Duration = Duration::from_secs(90);

pub fn run(machine: &Machine, consent: Consent) -> Result<ExitCode> {
    prepare(machine, consent, &[Purpose::Check])?;
    let tally = all(machine)?;
    println!("{}", tally.line());
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub fn all(machine: &Machine) -> Result<Tally> {
    let mut tally = Tally::default();
    for (title, command) in commands(machine) {
        let finished = Step::new(machine, title).attempt(command)?;
        if !finished.succeeded() {
            show_log(&finished);
        }
        tally = tally.plus(Tally::one(finished.succeeded()));
    }
    tally = tally.plus(advisories(machine)?);
    tally = tally.plus(judge("queries", queries(machine)));
    tally = tally.plus(judge("schema documents", catalogue::check(machine)));
    Ok(tally.plus(judge("budget", weight(machine))))
}

fn commands(machine: &Machine) -> Vec<(&'static str, Command)> {
    let cargo = |arguments: &[&str]| {
        let mut command = machine.command("cargo");
        command.args(arguments);
        command
    };
    let mut server = cargo(&["clippy", "--workspace", "--all-targets"]);
    server.args(FEATURES).args(["--", "-D", "warnings"]);
    let mut browser =
        cargo(&["clippy", "--package", "app", "--lib", "--features", "hydrate", "--target", WASM]);
    browser.args(["--", "-D", "warnings"]);
    let mut benchmarks = cargo(&["clippy", "--manifest-path", bench::MANIFEST, "--all-targets"]);
    benchmarks.args(["--", "-D", "warnings"]).env("CARGO_TARGET_DIR", bench::target_directory(machine));
    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    documentation.args(FEATURES).env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    vec![
        ("check: formatting", cargo(&["fmt", "--all", "--check"])),
        (
            "check: formatting, benchmarks",
            cargo(&["fmt", "--manifest-path", bench::MANIFEST, "--all", "--check"]),
        ),
        ("check: lints, server side", server),
        ("check: lints, browser side", browser),
        ("check: lints, benchmarks", benchmarks),
        ("check: documentation", documentation),
        ("check: dependencies", cargo(&["deny", "check", "bans", "licenses", "sources"])),
    ]
}

/// Only counted where the list can be had: elsewhere nothing was checked, and that is said.
fn advisories(machine: &Machine) -> Result<Tally> {
    let mut command = machine.command("cargo");
    command.args(["deny", "check", "advisories"]);
    let finished =
        Step::new(machine, "check: known holes in dependencies").within(ADVISORIES).attempt(command)?;
    if finished.status.is_none() || could_not_fetch(&finished.text()) {
        println!("  not checked: the list of known holes cannot be fetched here");
        return Ok(Tally { skipped: 1, ..Tally::default() });
    }
    if !finished.succeeded() {
        show_log(&finished);
    }
    Ok(Tally::one(finished.succeeded()))
}

fn could_not_fetch(log: &str) -> bool {
    ["failed to fetch advisory database", "failed to clone", "failed to acquire advisory"]
        .iter()
        .any(|sign| log.contains(sign))
}

fn queries(machine: &Machine) -> Result<()> {
    let cluster = Cluster::start(machine)?;
    cluster.migrate()?;
    let difference = sqlx::compare(machine, &cluster.url(), &machine.root.join(".sqlx"))?;
    if !difference.is_empty() {
        println!("{}", difference.join("\n"));
        bail!(".sqlx is not current: run `cargo xtask sqlx` and commit what it changes");
    }
    Ok(())
}

fn weight(machine: &Machine) -> Result<()> {
    let weights = budget::measure(machine)?;
    for line in weights.lines() {
        println!("  {line}");
    }
    if !weights.meets_goal() {
        bail!(
            "the first page is heavier than {} kB: put heavy parts behind a lazy route",
            budget::GOAL / 1000
        );
    }
    Ok(())
}

fn judge(name: &str, result: Result<()>) -> Tally {
    match &result {
        Ok(()) => println!("✓ check: {name}"),
        Err(error) => println!("✗ check: {name}: {error:#}"),
    }
    Tally::one(result.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_not_fetched_is_told_from_a_hole_that_was_found() {
        assert!(could_not_fetch("[ERROR] failed to fetch advisory database https://example.invalid"));
        assert!(!could_not_fetch("error[vulnerability]: Segfault in time\nadvisories FAILED"));
    }

    #[test]
    fn a_failed_check_is_counted() {
        assert_eq!(judge("x", Ok(())), Tally::one(true));
        assert_eq!(judge("x", Err(anyhow::anyhow!("no"))).failed, 1);
    }
}
