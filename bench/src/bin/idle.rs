//! Resident memory of an installation that has nothing to do, after somebody looked at each of its pages, and while
//! a board stays open.

use anyhow::{Context, Result, ensure};
use bench::{
    browser::Browser,
    figure::{Figure, report},
    installation::{Installation, Target},
    live::BoardWatcher,
    memory::{Memory, children},
};
use clap::Parser;
use serde_json::Value;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

const ROLES: [&str; 3] = ["serve", "work", "proxy"];
const GOAL_MB: f64 = 60.0;
/// The demo project's builds, in an installation that has just begun.
const PATIENCE: Duration = Duration::from_secs(1800);

#[derive(Parser)]
#[command(about = "Resident memory of serve, work and proxy at rest")]
struct Arguments {
    #[command(flatten)]
    target: Target,
    /// How often each page is looked at before.
    #[arg(long, default_value_t = 10)]
    visits: usize,
    /// Seconds of rest before the measurement.
    #[arg(long, default_value_t = 20)]
    rest: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let installation = Installation::open(&arguments.target).await?;
    wait_for_the_last_run(&installation).await?;
    let board = look_around(&installation, arguments.visits).await?;
    tokio::time::sleep(Duration::from_secs(arguments.rest)).await;
    let figures = measure(&installation)?;
    drop(board);
    report("idle", &figures, arguments.target.json);
    Ok(ExitCode::SUCCESS)
}

async fn wait_for_the_last_run(installation: &Installation) -> Result<()> {
    let began = Instant::now();
    loop {
        let mut active = 0;
        for project in list(installation, &["project", "list"])? {
            let slug = project["slug"].as_str().context("a project without slug")?;
            let runs = list(installation, &["run", "list", "--project", slug])?;
            active += runs.iter().filter(|run| is_active(run)).count();
        }
        if active == 0 {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{active} runs do not end");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn is_active(run: &Value) -> bool {
    matches!(run["status"].as_str(), Some("queued" | "claimed" | "running"))
}

/// Every kind of page, and then a board that stays open.
async fn look_around(installation: &Installation, visits: usize) -> Result<BoardWatcher> {
    let projects = list(installation, &["project", "list"])?;
    let project = projects.first().context("there is no project")?;
    let (Some(id), Some(slug)) = (project["id"].as_str(), project["slug"].as_str()) else {
        anyhow::bail!("a project without id: {project}");
    };
    let runs = list(installation, &["run", "list", "--project", slug])?;
    let run = runs.first().and_then(|run| run["id"].as_str()).context("nothing was ever built")?;
    let mut browser = Browser::sign_in(installation).await?;
    for _ in 0..visits {
        browser.open("/").await?;
        browser.open(&format!("/projects/{slug}")).await?;
        browser.open(&format!("/projects/{slug}/builds")).await?;
        browser.open(&format!("/projects/{slug}/builds/{run}")).await?;
    }
    let token = installation.ops(&["token", "create", "--name", "bench"])?;
    BoardWatcher::open(installation, token["token"].as_str().context("no token")?, id).await
}

fn list(installation: &Installation, command: &[&str]) -> Result<Vec<Value>> {
    let answer = installation.ops(command)?;
    answer.as_array().cloned().with_context(|| format!("{command:?} answers no list"))
}

fn measure(installation: &Installation) -> Result<Vec<Figure>> {
    let processes = children(installation.supervisor)?;
    let (mut figures, mut together) = (Vec::new(), Memory::default());
    for role in ROLES {
        let process = processes.iter().find(|(_, arguments)| arguments.get(1).is_some_and(|it| it == role));
        let (pid, _) = process.with_context(|| format!("`ops {role}` does not run"))?;
        let memory = Memory::of(*pid)?;
        figures.push(Figure::new(format!("{role}, resident"), megabytes(memory.rss), "MB"));
        together.rss += memory.rss;
        together.pss += memory.pss;
    }
    figures.push(Figure::new("together, resident (RSS)", megabytes(together.rss), "MB").at_most(GOAL_MB));
    // The three are one program, whose code is in memory once and in RSS thrice.
    figures.push(Figure::new("together, shared pages in parts (PSS)", megabytes(together.pss), "MB"));
    Ok(figures)
}

/// MB as in the goal: of 1,000,000 bytes.
fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}
