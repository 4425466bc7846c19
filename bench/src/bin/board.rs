//! How long the server takes until somebody who watches a board is told: from the start of `git push` to the build on
//! its card, and from a move, asked for by the API, to the card in its new column. Both through the proxy, and both
//! end with the message on the live socket: what a browser then takes to draw it is not in the figures.

use anyhow::Result;
use bench::{
    figure::{Figure, percentile, report},
    http::Connection,
    installation::{Installation, Target},
    live::{BoardWatcher, card},
    repository::Project,
};
use clap::Parser;
use hyper::Method;
use serde_json::json;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

const GOAL: f64 = 1.0;

#[derive(Parser)]
#[command(about = "From push to card, and from a move to the board of somebody who watches")]
struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Pushes and moves.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let installation = Installation::open(&arguments.target).await?;
    let project = Project::create(&installation)?;
    project.push("main")?;
    project.switch_to_new("feature")?;
    project.commit("Second")?;
    project.push("feature")?;
    let mut board = BoardWatcher::open(&installation, &project.token, &project.id).await?;
    board.until(|board| card(board, "feature").is_some_and(|card| card["runs"][0].is_object())).await?;

    let (mut from_start, mut from_end) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        let sha = project.commit(&format!("Round {round}"))?;
        let began = Instant::now();
        project.push("feature")?;
        let pushed = Instant::now();
        let shows = |card: &serde_json::Value| card["runs"][0]["commit_sha"] == *sha;
        let seen = board.until(|board| card(board, "feature").is_some_and(shows)).await?;
        from_start.push(seen.saturating_duration_since(began));
        // Often before git has returned.
        from_end.push(seen.saturating_duration_since(pushed));
    }
    let moves = measure_moves(&installation, &project, &mut board, arguments.rounds).await?;

    let mut figures = Vec::new();
    for (name, samples) in [("from push to card", &from_start), ("from move to who watches", &moves)] {
        figures.push(Figure::seconds(format!("{name}, median"), percentile(samples, 0.5)));
        figures.push(Figure::seconds(format!("{name}, slowest"), percentile(samples, 1.0)).at_most(GOAL));
    }
    figures.push(Figure::seconds("from git's return to card, slowest", percentile(&from_end, 1.0)));
    report("board", &figures, arguments.target.json);
    Ok(ExitCode::SUCCESS)
}

async fn measure_moves(
    installation: &Installation,
    project: &Project,
    watcher: &mut BoardWatcher,
    rounds: usize,
) -> Result<Vec<Duration>> {
    let mut mover = Connection::open(installation.address, &installation.base_domain).await?;
    let mut samples = Vec::new();
    for stage in ["staging", "development"].into_iter().cycle().take(rounds) {
        let path = format!("/api/v1/projects/{}/moves", project.slug);
        let body = json!({"branch": "feature", "target": {"onto": "stage", "stage": stage}});
        let began = Instant::now();
        mover.json(Method::POST, &path, Some(&project.token), &body).await?;
        let moved = |card: &serde_json::Value| card["stage"] == stage;
        let seen = watcher.until(|board| card(board, "feature").is_some_and(moved)).await?;
        samples.push(seen.saturating_duration_since(began));
    }
    Ok(samples)
}
