//! `cargo xtask test --chaos`: the faults of `server/tests/fault`, each with twenty seeds instead of one.

use crate::build::{self, Profile};
use crate::machine::Machine;
use crate::postgres::Cluster;
use crate::setup::{Consent, Purpose, prepare};
use crate::step::{Step, show_log};
use crate::{report, test};
use anyhow::Result;
use std::process::ExitCode;

const SEEDS: &str = "1-20";

pub fn run(machine: &Machine, consent: Consent, seed: Option<u64>, point: Option<&str>) -> Result<ExitCode> {
    prepare(machine, consent, &[Purpose::Up, Purpose::Test])?;
    let cluster = Cluster::start(machine)?;
    let console = build::console(machine, Profile::Debug)?;
    Ok(test::end(test::runner("faults", || {
        let mut command = machine.command("cargo");
        command.args(["nextest", "run", "--package", "server", "--test", "fault", "--profile", "chaos"]);
        command.args(["--color", "never", "-E", "test(/^chaos_/)"]);
        console.apply(&mut command);
        command.env("TEST_DATABASE_URL", cluster.superuser_url()).env_remove("DATABASE_URL");
        command.env("ODOOOPS_FAULT_SEEDS", seed.map_or(SEEDS.to_owned(), |seed| seed.to_string()));
        command.env("ODOOOPS_FAULT_POINT", point.unwrap_or_default());
        let finished = Step::new(machine, "faults").attempt(command)?;
        for line in finished.text().lines().map(str::trim_start).filter(|line| line.starts_with("ok   ")) {
            println!("{line}");
        }
        if !finished.succeeded() {
            show_log(&finished);
        }
        Ok(report::nextest(&finished.text())?.judged_by(finished.succeeded()))
    })))
}
