//! `cargo xtask test`: the same set-up as `up`, then every test against the real parts, then one line with the sum.

use crate::build::{self, Profile};
use crate::machine::Machine;
use crate::postgres::Cluster;
use crate::report::{self, Tally};
use crate::setup::{Consent, Purpose, prepare};
use crate::step::{Step, seconds, show_log};
use crate::{bench, check, playwright};
use anyhow::Result;
use std::process::{Command, ExitCode};
use std::time::Instant;

pub fn run(machine: &Machine, consent: Consent, only: Option<&str>) -> Result<ExitCode> {
    prepare(machine, consent, &[Purpose::Up, Purpose::Test])?;
    Ok(end(tests(machine, only)?))
}

/// What continuous integration runs. The checks come first: they end sooner.
pub fn run_with_checks(machine: &Machine, consent: Consent) -> Result<ExitCode> {
    prepare(machine, consent, &[Purpose::Up, Purpose::Test, Purpose::Check])?;
    let checks = check::all(machine)?;
    let tests = tests(machine, None)?;
    // The checks have built what is tried here, to weigh it.
    let optimised = runner("browser tests, optimised pages", || {
        playwright::run_optimised(machine, build::console(machine, Profile::Debug)?)
    });
    Ok(end(checks.plus(tests).plus(optimised)))
}

fn tests(machine: &Machine, only: Option<&str>) -> Result<Tally> {
    let cluster = Cluster::start(machine)?;
    // Before the tests: some of them start `ops`, and a tree that does not build needs no tests.
    let console = build::console(machine, Profile::Debug)?;
    let rust = runner("Rust tests", || nextest(machine, &cluster, &console, only));
    if only.is_some() {
        return Ok(rust);
    }
    let benchmarks = runner("tests of the benchmarks", || bench_tests(machine));
    let browser = runner("browser tests", || playwright::run(machine, &console));
    Ok(rust.plus(benchmarks).plus(browser))
}

/// A runner that cannot even run counts as one failure, and the next one still has its turn.
pub fn runner(name: &str, run: impl FnOnce() -> Result<Tally>) -> Tally {
    let started = Instant::now();
    let tally = run().unwrap_or_else(|error| {
        println!("✗ {name}: {error:#}");
        Tally::one(false)
    });
    let skipped = if tally.skipped > 0 { format!(" ({} skipped)", tally.skipped) } else { String::new() };
    println!("{name}: {}{skipped} in {}", tally.line(), seconds(started.elapsed()));
    tally
}

fn nextest(
    machine: &Machine,
    cluster: &Cluster<'_>,
    console: &build::Console,
    only: Option<&str>,
) -> Result<Tally> {
    let mut command = machine.command("cargo");
    command.args(["nextest", "run", "--no-fail-fast", "--workspace", "--features", "odooops/native,app/ssr"]);
    command.args(["--color", "never", "--no-tests", "pass"]);
    command.args(only);
    console.apply(&mut command);
    // What the tests' databases are made in; each test applies the migrations itself, to a copy of its own.
    command.env("TEST_DATABASE_URL", cluster.superuser_url()).env_remove("DATABASE_URL");
    judged(machine, "Rust tests", command)
}

/// Programs that measure are wrong as easily as others, and nobody sees it in a figure.
fn bench_tests(machine: &Machine) -> Result<Tally> {
    let mut command = machine.command("cargo");
    command.args([
        "nextest",
        "run",
        "--no-fail-fast",
        "--manifest-path",
        bench::MANIFEST,
        "--color",
        "never",
    ]);
    command.env("CARGO_TARGET_DIR", bench::target_directory(machine));
    judged(machine, "tests of the benchmarks", command)
}

pub fn judged(machine: &Machine, title: &str, nextest: Command) -> Result<Tally> {
    let finished = Step::new(machine, title).attempt(nextest)?;
    if !finished.succeeded() {
        show_log(&finished);
    }
    Ok(report::nextest(&finished.text())?.judged_by(finished.succeeded()))
}

pub fn end(tally: Tally) -> ExitCode {
    println!("{}", tally.line());
    if tally.failed == 0 && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
