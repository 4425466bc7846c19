//! The same by others: graphile_worker in this process, pg-boss in Node.js.

use super::cluster::{Bench, PEERS};
use anyhow::{Context, Result, ensure};
use graphile_worker::{IntoTaskHandlerResult, JobSpec, TaskHandler, WorkerContext, WorkerOptions};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Executor;
use std::{
    path::Path,
    process::Command,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};

static DONE: AtomicU64 = AtomicU64::new(0);
/// As many jobs under way as claimers: each claimer's producer waits for a job's end before it adds the next.
static ROOM: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(0));

#[derive(Serialize, Deserialize)]
struct Life {
    a: i32,
}

impl TaskHandler for Life {
    const IDENTIFIER: &'static str = "life";

    async fn run(self, _context: WorkerContext) -> impl IntoTaskHandlerResult {
        DONE.fetch_add(1, Ordering::Relaxed);
        ROOM.add_permits(1);
        Ok::<(), String>(())
    }
}

/// Jobs a second: added, fetched, run and completed.
pub async fn graphile_worker(bench: &Bench, claimers: usize, time: Duration) -> Result<f64> {
    bench.superuser(PEERS).await?.execute("drop schema if exists graphile_worker cascade").await?;
    let worker = WorkerOptions::default()
        .database_url(&bench.url(PEERS))
        .max_pg_conn(claimers as u32 * 2)
        .concurrency(claimers)
        .poll_interval(Duration::from_millis(500))
        .listen_os_shutdown_signals(false)
        .define_job::<Life>()
        .init()
        .await
        .map_err(|error| anyhow::anyhow!("graphile_worker: {error}"))?;
    let worker = Arc::new(worker);
    let running = tokio::spawn({
        let worker = Arc::clone(&worker);
        async move { worker.run().await.map_err(|error| anyhow::anyhow!("graphile_worker: {error}")) }
    });
    // Twice as many as run at once, so that no worker waits for a producer.
    ROOM.add_permits(claimers * 2);
    let stop = Arc::new(AtomicBool::new(false));
    let mut producers = JoinSet::new();
    let (before, began) = (DONE.load(Ordering::Relaxed), Instant::now());
    for _ in 0..claimers {
        let (utils, stop) = (worker.create_utils(), Arc::clone(&stop));
        producers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                ROOM.acquire().await?.forget();
                let added = utils.add_job(Life { a: 1 }, JobSpec::default()).await;
                added.map_err(|error| anyhow::anyhow!("graphile_worker: {error}"))?;
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(time).await;
    let (count, took) = (DONE.load(Ordering::Relaxed) - before, began.elapsed());
    stop.store(true, Ordering::Relaxed);
    ROOM.add_permits(claimers);
    while let Some(ended) = producers.join_next().await {
        ended??;
    }
    worker.request_shutdown();
    running.await??;
    Ok(count as f64 / took.as_secs_f64())
}

/// Jobs a second: sent, fetched and completed. None where it is not installed.
pub fn pg_boss(
    bench: &Bench,
    modules: Option<&Path>,
    claimers: usize,
    time: Duration,
) -> Result<Option<f64>> {
    let Some(modules) = modules.filter(|modules| modules.join("pg-boss").is_dir()) else { return Ok(None) };
    let script = bench.folder().join("pg_boss.cjs");
    std::fs::write(&script, include_str!("pg_boss.cjs"))?;
    let output = Command::new("node")
        .arg(&script)
        .args([bench.url(PEERS), claimers.to_string(), time.as_secs().max(1).to_string()])
        .env("NODE_PATH", modules)
        .output()
        .context("node")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pg-boss: {}", said.trim());
    let told: Value = serde_json::from_slice(&output.stdout).context("pg-boss tells no figure")?;
    let (done, took) = (told["done"].as_f64(), told["took"].as_f64());
    Ok(done.zip(took).map(|(done, took)| done / took))
}
