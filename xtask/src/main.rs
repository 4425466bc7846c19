//! `cargo xtask`: everything between a fresh machine and a running OdooOps.
//!
//! The crate is built by whatever cargo the user has and must therefore stay small. It never assumes that a tool
//! is there: each one is described in `tools/` by how to see it and how to get it, and a command first brings
//! the machine to what it needs ([`setup`]), asking once, and then works.

mod apt_sources;
mod bench;
mod budget;
mod build;
mod catalogue;
mod chaos;
mod check;
mod docker;
mod doctor;
mod hash;
mod image;
mod machine;
mod playwright;
mod postgres;
mod report;
mod setup;
mod sources;
mod sqlx;
mod step;
mod test;
mod toolchain;
mod tools;
mod up;

use clap::{Parser, Subcommand};
use machine::Machine;
use setup::Consent;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Sets this machine up for OdooOps, builds, tests and starts it")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing (after asking), build, and start OdooOps in the foreground
    Up {
        /// Answer yes to every question
        #[arg(long)]
        yes: bool,
        /// Build with optimisations
        #[arg(long)]
        release: bool,
        /// Where OdooOps keeps its data (default: /var/lib/odooops as root, the user's data directory otherwise)
        #[arg(long)]
        data_dir: Option<PathBuf>,
        /// Passed on to `ops up`
        #[arg(last = true)]
        rest: Vec<String>,
    },
    /// Install what is missing (after asking), build, and run every test
    Test {
        #[arg(long)]
        yes: bool,
        /// Only tests whose name contains this (passed on to nextest; the browser tests are left out)
        #[arg(long)]
        only: Option<String>,
        /// Only the faults, each with twenty seeds: what is killed, cut off or filled up, and how it is back
        #[arg(long)]
        chaos: bool,
        /// With --chaos: one seed, as a failure names it
        #[arg(long, requires = "chaos")]
        seed: Option<u64>,
        /// With --chaos: one fault, as a failure names it
        #[arg(long, requires = "chaos")]
        point: Option<String>,
    },
    /// Formatting, lints, documentation, dependencies, recorded queries, schema documents, size of the browser part
    Check {
        #[arg(long)]
        yes: bool,
    },
    /// The checks and the tests, as continuous integration runs them
    Ci {
        #[arg(long)]
        yes: bool,
    },
    /// Say what is there and what is missing
    Doctor,
    /// Measure, and compare with the goals
    Bench {
        /// Which one (all when none is named)
        names: Vec<String>,
        #[arg(long)]
        yes: bool,
        /// For the one benchmark that is named, such as `queue -- --hold-minutes 10`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Build the Odoo image, if there is none of this recipe
    Image {
        #[arg(long)]
        yes: bool,
        /// Build it again even if it is there
        #[arg(long)]
        rebuild: bool,
    },
    /// Write the schema's diagrams and its DBML in docs/schema, from a migrated database
    Catalogue {
        #[arg(long)]
        yes: bool,
        /// Change nothing; fail if they are not current
        #[arg(long)]
        check: bool,
    },
    /// Record the description of every SQL query in .sqlx
    Sqlx {
        #[arg(long)]
        yes: bool,
        /// Change nothing; fail if .sqlx is not current
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let task = Arguments::parse().task;
    match run(task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let machine = Machine::look()?;
    match task {
        Task::Up { yes, release, data_dir, rest } => {
            up::run(&machine, Consent::from_flag(yes), build::Profile::of(release), data_dir, rest)
        }
        Task::Test { yes, chaos: true, seed, point, .. } => {
            chaos::run(&machine, Consent::from_flag(yes), seed, point.as_deref())
        }
        Task::Test { yes, only, .. } => test::run(&machine, Consent::from_flag(yes), only.as_deref()),
        Task::Check { yes } => check::run(&machine, Consent::from_flag(yes)),
        Task::Ci { yes } => test::run_with_checks(&machine, Consent::from_flag(yes)),
        Task::Doctor => doctor::run(&machine),
        Task::Bench { names, yes, arguments } => {
            bench::run(&machine, Consent::from_flag(yes), &names, &arguments)
        }
        Task::Image { yes, rebuild } => image::run(&machine, Consent::from_flag(yes), rebuild),
        Task::Catalogue { yes, check } => catalogue::run(&machine, Consent::from_flag(yes), check),
        Task::Sqlx { yes, check } => sqlx::run(&machine, Consent::from_flag(yes), check),
    }
}
