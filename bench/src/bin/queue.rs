//! The queue of runs: how many lives of a run a second, beside what PostgreSQL gives at most and beside two other
//! queues; how soon a waiting worker has what was queued; and what history and a long transaction cost.

use anyhow::Result;
use bench::{
    figure::{Figure, percentile, report},
    queue::{
        ceiling,
        cluster::Bench,
        ours::{self, Until, Upkeep},
        peers,
    },
};
use clap::Parser;
use std::{path::PathBuf, process::ExitCode, time::Duration};

const GOAL_PART: f64 = 0.5;
const GOAL_RATE: f64 = 2500.0;
const GOAL_MEDIAN_MS: f64 = 3.0;
const GOAL_SLOW_MS: f64 = 15.0;
const GOAL_HISTORY: f64 = 0.95;
const GOAL_HELD: f64 = 2.0;
/// Runs a second while a transaction is held open.
const PACE: f64 = 50.0;

#[derive(Parser)]
#[command(about = "The queue of runs beside its ceiling and its peers")]
struct Arguments {
    /// How many claim at once.
    #[arg(long, default_value_t = 16)]
    claimers: usize,
    /// How long each rate is measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Of ours and the ceiling, in turns; the best of each counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Runs that ended before.
    #[arg(long, default_value_t = 1_000_000)]
    history: u64,
    /// Holds the transaction open for this many minutes at 50 runs a second, as the goal says. Without it, the runs of
    /// ten such minutes are made as fast as they go while it is open, and claims are timed after them.
    #[arg(long)]
    hold_minutes: Option<u64>,
    /// Where Node.js finds pg-boss.
    #[arg(long, env = "NODE_PATH")]
    node_modules: Option<PathBuf>,
    /// The program `ops`; not needed, the schema is compiled in.
    #[arg(long, env = "OPS_BIN", hide = true)]
    ops: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let bench = Bench::start().await?;
    ours::prepare(&bench, arguments.claimers).await?;
    let mut figures =
        vec![Figure::new("pg_test_fsync, fdatasync: what a commit waits for here", bench.flushes()?, "/s")];
    let upkeep = Upkeep::start(&bench).await?;
    let empty = rates(&bench, &arguments, &mut figures).await?;
    pickups(&bench, &mut figures).await?;
    history(&bench, &arguments, empty, &mut figures).await?;
    held(&bench, &arguments, &mut figures).await?;
    upkeep.stop().await?;
    bench.stop().await?;
    report("queue", &figures, arguments.json);
    Ok(ExitCode::SUCCESS)
}

fn best(rates: impl IntoIterator<Item = f64>) -> f64 {
    rates.into_iter().fold(0.0, f64::max)
}

/// In turns, so that all meet the same machine. The best of ours while no console listens.
async fn rates(bench: &Bench, arguments: &Arguments, figures: &mut Vec<Figure>) -> Result<f64> {
    let (claimers, time) = (arguments.claimers, Duration::from_secs(arguments.seconds));
    // Warm: plans, caches, the first pages of the tables.
    ours::measure(bench, claimers, Duration::from_secs(2)).await?;
    let (mut quiet, mut heard) = (0.0, 0.0);
    for (is_heard, best_of) in [(false, &mut quiet), (true, &mut heard)] {
        ours::set_heard(bench, is_heard).await?;
        let (mut most, mut lives) = (Vec::new(), Vec::new());
        for _ in 0..arguments.rounds.max(1) {
            most.push(ceiling::measure(bench, claimers, time, is_heard).await?);
            lives.push(ours::measure(bench, claimers, time).await?);
        }
        let (most, ours) = (best(most), best(lives));
        let who = if is_heard { "a console listens" } else { "no console listens" };
        figures.push(Figure::new(format!("{who}: ceiling, pgbench on bare tables"), most, "lives/s"));
        figures.push(Figure::new(format!("{who}: ours"), ours, "lives/s").at_least(GOAL_RATE));
        figures.push(
            Figure::new(format!("{who}: ours, part of the ceiling"), ours / most, "").at_least(GOAL_PART),
        );
        *best_of = ours;
    }
    ours::set_heard(bench, false).await?;
    let mut peer = peers::graphile_worker(bench, claimers, time).await?;
    figures.push(Figure::new("graphile_worker", peer, "lives/s"));
    match peers::pg_boss(bench, arguments.node_modules.as_deref(), claimers, time)? {
        Some(rate) => {
            figures.push(Figure::new("pg-boss", rate, "lives/s"));
            peer = peer.max(rate);
        }
        None => eprintln!("pg-boss is not installed (NODE_PATH): not measured"),
    }
    figures.push(Figure::new("ours, times the better of the two", quiet / peer, "").at_least(1.0));
    Ok(quiet)
}

async fn pickups(bench: &Bench, figures: &mut Vec<Figure>) -> Result<()> {
    ours::pickups(bench, 20).await?;
    let took = ours::pickups(bench, 500).await?;
    for (name, part, goal) in [("median", 0.5, GOAL_MEDIAN_MS), ("99 of 100", 0.99, GOAL_SLOW_MS)] {
        let name = format!("queued to held by a waiting worker, {name}");
        figures.push(Figure::milliseconds(name, percentile(&took, part)).at_most(goal));
    }
    Ok(())
}

async fn history(bench: &Bench, arguments: &Arguments, empty: f64, figures: &mut Vec<Figure>) -> Result<()> {
    ours::add_history(bench, arguments.history).await?;
    let time = Duration::from_secs(arguments.seconds);
    ours::measure(bench, arguments.claimers, Duration::from_secs(2)).await?;
    let mut full = Vec::new();
    for _ in 0..arguments.rounds.max(1) {
        full.push(ours::measure(bench, arguments.claimers, time).await?);
    }
    let full = best(full);
    figures.push(Figure::new(format!("ours, after {} finished runs", arguments.history), full, "lives/s"));
    figures.push(Figure::new("part of that without them", full / empty, "").at_least(GOAL_HISTORY));
    Ok(())
}

async fn held(bench: &Bench, arguments: &Arguments, figures: &mut Vec<Figure>) -> Result<()> {
    let sample = Duration::from_secs(arguments.seconds.max(20));
    ours::paced(bench, PACE, Duration::from_secs(2)).await?;
    let before = percentile(&ours::paced(bench, PACE, sample).await?, 0.99);
    let open = ours::hold(bench).await?;
    let how = match arguments.hold_minutes {
        Some(minutes) => {
            let rest = Duration::from_secs(minutes * 60).saturating_sub(sample);
            ours::paced(bench, PACE, rest).await?;
            format!("held open for {minutes} minutes")
        }
        None => {
            let runs = (PACE * 600.0) as u64;
            let (_, took) = ours::lives(bench, arguments.claimers, Until::Count(runs)).await?;
            format!("held open over {runs} runs, ten minutes' worth in {:.0} s", took.as_secs_f64())
        }
    };
    let during = percentile(&ours::paced(bench, PACE, sample).await?, 0.99);
    drop(open);
    figures.push(Figure::milliseconds("claim at 50 runs/s, 99 of 100", before));
    figures.push(Figure::milliseconds(format!("the same with a transaction {how}"), during));
    let times = during.as_secs_f64() / before.as_secs_f64();
    figures.push(Figure::new("times the former", times, "").at_most(GOAL_HELD));
    Ok(())
}
