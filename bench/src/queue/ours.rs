//! The queue of runs, by the functions that everybody calls: `queue_run` as a member of a project does it by the
//! console's login, the rest as a worker's login does it.

#![expect(
    clippy::disallowed_methods,
    reason = "the schema is applied by the measurement, not known to the compiler"
)]

use super::cluster::Bench;
use anyhow::{Context, Result, ensure};
use odooops::postgres::ops::Role;
use sqlx::{ConnectOptions, Executor, PgConnection, Row, postgres::PgListener};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::JoinSet};
use uuid::Uuid;

const MEMBER: &str = "01990000-0000-7000-8000-0000000000a1";

/// A member, their project, and as many registered workers.
pub async fn prepare(bench: &Bench, workers: usize) -> Result<()> {
    let sql = format!(
        "insert into ops.users (id, name, email) values ('{MEMBER}', 'Member', 'member@example.com');
         insert into ops.projects (slug, name) values ('bench', 'Bench');
         insert into ops.project_memberships (project_id, user_id, role)
             select id, '{MEMBER}', 'developer' from ops.projects where slug = 'bench';
         select ops.register_worker('bench-' || n, 'bench', '0', 100, '{{build,test}}')
             from generate_series(0, {workers}) n;"
    );
    bench.superuser("ops").await?.execute(sql.as_str()).await?;
    Ok(())
}

/// Whether a console listens decides how much is announced.
pub async fn set_heard(bench: &Bench, is_heard: bool) -> Result<()> {
    let until = if is_heard { i64::MAX } else { 0 };
    let sql = format!("select setval('ops.console_listens_until', {until})");
    bench.superuser("ops").await?.execute(sql.as_str()).await?;
    Ok(())
}

/// Whether a worker waits decides whether what is queued is announced.
async fn set_waiting(bench: &Bench, waits: bool) -> Result<()> {
    let until = if waits { i64::MAX } else { 0 };
    let sql = format!("select setval('ops.worker_waits_until', {until})");
    bench.superuser("ops").await?.execute(sql.as_str()).await?;
    Ok(())
}

/// Somebody who queues, and a worker.
pub struct Pair {
    member: PgConnection,
    worker: PgConnection,
    name: String,
}

pub struct Held {
    id: Uuid,
    lease: i64,
}

impl Pair {
    pub async fn open(bench: &Bench, number: usize) -> Result<Self> {
        let mut member = bench.options("ops", Role::Web.name()).connect().await?;
        let set = format!("select set_config('ops.user_id', '{MEMBER}', false)");
        member.execute(set.as_str()).await?;
        let worker = bench.options("ops", Role::Worker.name()).connect().await?;
        Ok(Self { member, worker, name: format!("bench-{number}") })
    }

    pub async fn queue(&mut self) -> Result<Uuid> {
        let query = sqlx::query_scalar("select ops.queue_run('bench', 'test', 'refs/heads/main', $1)");
        Ok(query.bind("a94a8fe5ccb19ba61c4c0873d391e987982fbbd3").fetch_one(&mut self.member).await?)
    }

    /// Claims and starts, as `ops work` does.
    pub async fn claim(&mut self) -> Result<Option<Held>> {
        let sql = "select c.id, c.lease, (ops.start_workflow_run(c.id, $1, c.lease)).status
                   from ops.claim_next_run($1) c";
        let query = sqlx::query(sql).bind(&self.name);
        let row = query.fetch_optional(&mut self.worker).await?;
        Ok(row.map(|row| Held { id: row.get(0), lease: row.get(1) }))
    }

    /// Says that it waits, as `ops work` does.
    async fn wait(&mut self) -> Result<()> {
        sqlx::query("select ops.worker_waits($1)").bind(&self.name).execute(&mut self.worker).await?;
        Ok(())
    }

    pub async fn finish(&mut self, held: &Held) -> Result<()> {
        let status: String =
            sqlx::query_scalar("select (ops.finish_run($1, $2, 'succeeded', 0, null)).status")
                .bind(held.id)
                .bind(held.lease)
                .fetch_one(&mut self.worker)
                .await?;
        ensure!(status == "succeeded", "the run ended {status}");
        Ok(())
    }

    async fn event(&mut self, held: &Held) -> Result<()> {
        sqlx::query("select ops.append_event($1, 'note', '{\"a\": 1}', $2)")
            .bind(held.id)
            .bind(held.lease)
            .fetch_one(&mut self.worker)
            .await?;
        Ok(())
    }

    /// From the queue to the end. How long the claim took.
    pub async fn life(&mut self) -> Result<Duration> {
        self.queue().await?;
        let (held, took) = loop {
            let began = Instant::now();
            // Another may have taken it, who finds their own later.
            if let Some(held) = self.claim().await? {
                break (held, began.elapsed());
            }
        };
        self.event(&held).await?;
        self.finish(&held).await?;
        Ok(took)
    }
}

/// What every worker does beside its runs: its heartbeat each second, and the leases of others every other.
pub struct Upkeep {
    stop: Arc<Notify>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Upkeep {
    pub async fn start(bench: &Bench) -> Result<Self> {
        let mut conn = bench.options("ops", Role::Worker.name()).connect().await?;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            for second in 0_u64.. {
                if second % 2 == 0 {
                    conn.execute("select ops.requeue_lost_runs()").await?;
                }
                conn.execute("select ops.heartbeat('bench-0', '{}', '{}')").await?;
                tokio::select! {
                    () = stopped.notified() => break,
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
            Ok(())
        });
        Ok(Self { stop, task })
    }

    pub async fn stop(self) -> Result<()> {
        self.stop.notify_one();
        self.task.await?
    }
}

/// Lives a second, by so many at once.
pub async fn measure(bench: &Bench, claimers: usize, time: Duration) -> Result<f64> {
    lives(bench, claimers, Until::Time(time)).await.map(|(count, took)| count as f64 / took.as_secs_f64())
}

#[derive(Clone, Copy)]
pub enum Until {
    Time(Duration),
    Count(u64),
}

pub async fn lives(bench: &Bench, claimers: usize, until: Until) -> Result<(u64, Duration)> {
    set_waiting(bench, false).await?;
    let before = ended(bench).await?;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut pairs = Vec::new();
    for number in 0..claimers {
        pairs.push(Pair::open(bench, number).await?);
    }
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for mut pair in pairs {
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                pair.life().await?;
                let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                if matches!(until, Until::Count(wanted) if count >= wanted) {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            anyhow::Ok(())
        });
    }
    if let Until::Time(time) = until {
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let (took, count) = (began.elapsed(), done.load(Ordering::Relaxed));
    let in_database = ended(bench).await? - before;
    ensure!(in_database == count as i64, "{count} lives were told, {in_database} are in the database");
    Ok((count, took))
}

async fn ended(bench: &Bench) -> Result<i64> {
    let sql = "select count(*) from ops.runs where status = 'succeeded'";
    Ok(bench.superuser("ops").await?.fetch_one(sql).await?.get(0))
}

/// From the call that queues to the claim in the hands of a worker that waits for the notification; one at a time.
pub async fn pickups(bench: &Bench, count: usize) -> Result<Vec<Duration>> {
    let mut listener = PgListener::connect_with(&odooops::postgres::ops::connect(
        bench.options("ops", Role::Worker.name()),
        1,
    ))
    .await?;
    listener.listen("ops_run").await?;
    let mut member = Pair::open(bench, 1).await?;
    let mut waiting = Pair::open(bench, 2).await?;
    let mut took = Vec::new();
    for _ in 0..count {
        waiting.wait().await?;
        // At rest: nobody is warm from the last one.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        let worker = async {
            loop {
                listener.recv().await?;
                if let Some(held) = waiting.claim().await? {
                    return anyhow::Ok((held, began.elapsed()));
                }
            }
        };
        let (queued, held) =
            tokio::join!(member.queue(), tokio::time::timeout(Duration::from_secs(10), worker));
        let (held, time) = held.context("no notification in ten seconds")??;
        ensure!(queued? == held.id, "another run was claimed");
        took.push(time);
        waiting.finish(&held).await?;
    }
    Ok(took)
}

/// So many runs that ended long ago, with their events.
pub async fn add_history(bench: &Bench, runs: u64) -> Result<()> {
    let mut conn = bench.superuser("ops").await?;
    let sql = format!(
        "with history as (
             insert into ops.runs (project_id, kind, status, git_ref, commit_sha, attempt, lease, worker_id, queued_at,
                                   run_after, claimed_at, started_at, finished_at, exit_code)
             select p.id, 'test', 'failed', 'refs/heads/main', 'abcdef0', 1, nextval('ops.lease_seq'), 'old', t, t, t, t, t, 1
             from ops.projects p, generate_series(1, {runs}) n, lateral (select now() - interval '1 day' - n * interval '1 second') as at (t)
             where p.slug = 'bench' returning id, project_id)
         insert into ops.run_events (run_id, project_id, type, created_at)
         select id, project_id, 'failed', now() - interval '1 hour' from history"
    );
    // Nobody hears of it: a million notifications at once would be another measurement.
    conn.execute("set session_replication_role = replica").await?;
    conn.execute(sql.as_str()).await?;
    conn.execute("vacuum analyze ops.runs").await?;
    conn.execute("vacuum analyze ops.run_events").await?;
    conn.execute("checkpoint").await?;
    Ok(())
}

/// How long claims take at this many lives a second.
pub async fn paced(bench: &Bench, rate: f64, time: Duration) -> Result<Vec<Duration>> {
    // At this pace some worker always waits.
    set_waiting(bench, true).await?;
    let mut pairs = Vec::new();
    for number in 0..4 {
        pairs.push(Pair::open(bench, number).await?);
    }
    let step = Duration::from_secs_f64(pairs.len() as f64 / rate);
    let mut tasks = JoinSet::new();
    for (number, mut pair) in pairs.into_iter().enumerate() {
        tasks.spawn(async move {
            let mut beat = tokio::time::interval(step);
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            tokio::time::sleep(step * number as u32 / 4).await;
            let (began, mut took) = (Instant::now(), Vec::new());
            while began.elapsed() < time {
                beat.tick().await;
                took.push(pair.life().await?);
            }
            anyhow::Ok(took)
        });
    }
    let mut all = Vec::new();
    while let Some(took) = tasks.join_next().await {
        all.extend(took??);
    }
    Ok(all)
}

/// A transaction elsewhere that sees the database as it is now, and keeps every row of now alive.
pub async fn hold(bench: &Bench) -> Result<PgConnection> {
    let mut conn = bench.superuser("ops").await?;
    conn.execute("begin isolation level repeatable read").await?;
    conn.execute("select count(*) from ops.projects").await?;
    conn.execute("select pg_current_xact_id()").await?;
    Ok(conn)
}
