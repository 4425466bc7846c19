//! From `git push` to a green build whose login page answers through the proxy, beside the same done by hand.

use anyhow::{Context, Result, bail, ensure};
use bench::{
    figure::{Figure, percentile, report},
    http::Connection,
    installation::{Installation, Target},
    live::{BoardWatcher, card},
    raw::{Raw, Recipe},
    repository::Project,
};
use clap::Parser;
use hyper::Method;
use serde_json::Value;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

const GOAL: f64 = 3.0;
const LOOK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(1200);

#[derive(Parser)]
#[command(about = "From push to a green build, beside the same raw Odoo")]
struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Builds of each kind; the first of the platform, which makes the template, is not counted.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let installation = Installation::open(&arguments.target).await?;
    let project = Project::create(&installation)?;
    let mut board = BoardWatcher::open(&installation, &project.token, &project.id).await?;

    let mut recipe = Recipe::default();
    let (_, first) = build(&installation, &project, &mut board, "Warm", Some(&mut recipe)).await?;
    let environment = first["environment"]["id"].as_str().context("the build has no environment")?;
    let raw = Raw::prepare(&installation, &recipe, environment)?;
    raw.play().await?;

    // In turns, so that both meet the same machine.
    let (mut platform, mut by_hand, mut steps) = (Vec::new(), Vec::new(), Value::Null);
    for round in 0..arguments.rounds {
        let (took, run) = build(&installation, &project, &mut board, &format!("Round {round}"), None).await?;
        platform.push(took);
        steps = run["steps"].clone();
        by_hand.push(raw.play().await?);
    }

    let (platform, by_hand) = (percentile(&platform, 0.5), percentile(&by_hand, 0.5));
    let overhead = platform.as_secs_f64() - by_hand.as_secs_f64();
    let mut figures = vec![
        Figure::seconds("from push to login page, median", platform),
        Figure::seconds("the same by hand, median", by_hand),
        Figure::new("overhead", overhead, "s").at_most(GOAL),
    ];
    for step in steps.as_array().into_iter().flatten() {
        if let (Some(name), Some(ms)) = (step["step"].as_str(), step["duration_ms"].as_f64()) {
            figures.push(Figure::new(format!("last build, {name}"), ms / 1000.0, "s"));
        }
    }
    report("push", &figures, arguments.target.json);
    Ok(ExitCode::SUCCESS)
}

/// Pushes a commit to main and waits until its environment can be used.
async fn build(
    installation: &Installation,
    project: &Project,
    board: &mut BoardWatcher,
    subject: &str,
    mut recipe: Option<&mut Recipe>,
) -> Result<(Duration, Value)> {
    let sha = project.commit(subject)?;
    let began = Instant::now();
    project.push("main")?;
    board.until(|board| newest_run(board, &sha).is_some()).await?;
    let id = newest_run(&board.now()?, &sha).context("the run is gone")?;
    let mut api = Connection::open(installation.address, &installation.base_domain).await?;
    let path = format!("/api/v1/runs/{id}");
    let run = loop {
        let run = api.json(Method::GET, &path, Some(&project.token), &Value::Null).await?;
        match run["status"].as_str().unwrap_or_default() {
            "queued" | "claimed" | "running" => {}
            "succeeded" => break run,
            other => bail!("the build ended {other}: {}", run["error_message"]),
        }
        if let Some(recipe) = recipe.as_deref_mut() {
            recipe.look(&id).await?;
        }
        ensure!(began.elapsed() < PATIENCE, "the build does not end");
        tokio::time::sleep(LOOK).await;
    };
    let url = run["environment"]["url"].as_str().context("no address")?;
    let host = url.split_once("://").map_or(url, |(_, host)| host.trim_end_matches('/'));
    let mut browser = Connection::open(installation.address, host).await?;
    while browser.get("/web/login").await?.0 != 200 {
        ensure!(began.elapsed() < PATIENCE, "{url} does not answer");
        tokio::time::sleep(LOOK).await;
    }
    let took = began.elapsed();
    if let Some(recipe) = recipe {
        recipe.look(&id).await?;
    }
    Ok((took, run))
}

fn newest_run(board: &Value, sha: &str) -> Option<String> {
    let run = &card(board, "main")?["runs"][0];
    if run["commit_sha"] == sha { run["id"].as_str().map(str::to_owned) } else { None }
}
