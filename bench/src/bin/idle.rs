//! Resident memory of an installation that has nothing to do, after somebody looked at it once.

use anyhow::{Context, Result};
use bench::{
    figure::{Figure, report},
    http::Connection,
    installation::{Installation, Target},
    memory::{Memory, children},
};
use clap::Parser;
use std::{process::ExitCode, time::Duration};

const ROLES: [&str; 3] = ["serve", "work", "proxy"];
const GOAL_MB: f64 = 60.0;

#[derive(Parser)]
#[command(about = "Resident memory of serve, work and proxy")]
struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Pages that are looked at before.
    #[arg(long, default_value_t = 50)]
    pages: usize,
    /// Seconds of rest before the measurement.
    #[arg(long, default_value_t = 20)]
    rest: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let installation = Installation::open(&arguments.target).await?;
    let mut browser = Connection::open(installation.address, &installation.base_domain).await?;
    for _ in 0..arguments.pages {
        browser.get("/sign-in").await?;
    }
    drop(browser);
    tokio::time::sleep(Duration::from_secs(arguments.rest)).await;

    let processes = children(installation.supervisor)?;
    let mut figures = Vec::new();
    let (mut private, mut rss, mut pss, mut shared) = (0, 0, 0, 0);
    for role in ROLES {
        let process = processes.iter().find(|(_, arguments)| arguments.get(1).is_some_and(|it| it == role));
        let (pid, _) = process.with_context(|| format!("`ops {role}` does not run"))?;
        let memory = Memory::of(*pid)?;
        figures.push(Figure::new(format!("{role}, resident"), megabytes(memory.rss), "MB"));
        private += memory.private;
        rss += memory.rss;
        pss += memory.pss;
        shared = shared.max(memory.rss - memory.private);
    }
    // The three are one program: what they share is in memory once.
    figures
        .push(Figure::new("together, shared pages once", megabytes(private + shared), "MB").at_most(GOAL_MB));
    figures.push(Figure::new("sum of resident, shared pages thrice", megabytes(rss), "MB"));
    figures.push(Figure::new("sum of proportional (PSS)", megabytes(pss), "MB"));
    report("idle", &figures, arguments.target.json);
    Ok(ExitCode::SUCCESS)
}

/// MB as in the goal: of 1,000,000 bytes.
fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}
