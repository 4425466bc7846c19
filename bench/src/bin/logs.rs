//! How fast a container's output reaches the database, beside `docker logs` of the same output and COPY of the same
//! lines; whether every line arrives when the collector is killed; and how long a line takes to who watches.

use anyhow::{Context, Result, ensure};
use bench::{
    figure::{Figure, percentile, report},
    installation::{Installation, Target, scratch},
    log::{
        collecting::{Collect, Process, Usage, connect},
        container::{Printer, dockerd},
        lines::{self, Lines, Sum, Summing},
        readers::{Arrival, stall, watch},
    },
};
use clap::{Parser, Subcommand};
use odooops::{
    id::{InstallationId, RunId},
    log::query,
    postgres::ops::Role,
    session::Secret,
};
use sqlx::{Connection, Executor, PgPool, Row};
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Of what `docker logs` delivers.
const GOAL_RATE: f64 = 0.8;
const GOAL_MEMORY_MB: f64 = 100.0;
const GOAL_STORED: f64 = 0.3;
const GOAL_MEDIAN_MS: f64 = 100.0;
const GOAL_SLOW_MS: f64 = 300.0;
/// When the collecting process is killed, by the part of the lines that are stored.
const KILLS: [f64; 3] = [0.2, 0.45, 0.7];

#[derive(Parser)]
#[command(about = "From a container's output to the database and to who watches")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    target: Target,
    /// Lines that the container prints; the issue of memory and identity is settled with 10000000.
    #[arg(long, default_value_t = 2_000_000)]
    lines: u64,
    /// How often each of the two readers is measured; the best counts, for both.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Lines a second that are watched.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Who watches; one of them stalls.
    #[arg(long, default_value_t = 50)]
    readers: usize,
    /// How long they watch.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

#[derive(Subcommand)]
enum Command {
    /// The collecting process.
    #[command(hide = true)]
    Collect(Collect),
}

/// What is measured, and where.
struct Bench {
    installation: Installation,
    /// That of the containers: another than the installation's, whose reconciler would remove what it does not know.
    id: InstallationId,
    owner: PgPool,
    project: String,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Command::Collect(collect)) = arguments.command {
        collect.run().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let bench = Bench::open(&arguments.target).await?;
    let folder = scratch()?;
    let path = folder.path().join("lines");
    let sum = lines::write(&path, arguments.lines)?;
    let mut figures = vec![
        Figure::new("lines", sum.lines as f64, "lines"),
        Figure::new("raw", sum.bytes as f64 / 1e6, "MB"),
    ];
    figures.extend(bench.throughput(&path, &sum, arguments.rounds).await?);
    figures.extend(bench.kills(&path, &sum).await?);
    figures.extend(bench.latency(folder.path(), &arguments).await?);
    report("logs", &figures, arguments.target.json);
    Ok(ExitCode::SUCCESS)
}

impl Bench {
    async fn open(target: &Target) -> Result<Self> {
        let installation = Installation::open(target).await?;
        let owner = connect(&installation.data_dir, Role::Owner)?;
        let bench = Self { installation, id: InstallationId::new(), owner, project: "bench-logs".to_owned() };
        bench.rest().await?;
        Ok(bench)
    }

    /// Waits until nothing else runs: the demo project is built first.
    async fn rest(&self) -> Result<()> {
        loop {
            let active = "select count(*) from ops.runs where status in ('queued', 'claimed', 'running')";
            if self.as_owner(active).await?.get::<i64, _>(0) == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let insert = format!(
            "insert into ops.projects (slug, name) values ('{0}', '{0}') on conflict do nothing returning 1",
            self.project
        );
        let insert = format!("with made as ({insert}) select count(*) from made");
        self.as_owner(&insert).await?;
        Ok(())
    }

    /// One row, as who owns the schema.
    async fn as_owner(&self, sql: &str) -> Result<sqlx::postgres::PgRow> {
        let mut conn = self.owner.acquire().await?;
        let mut txn = conn.begin().await?;
        txn.execute("set local role ops_owner").await?;
        let row = txn.fetch_one(sql).await.with_context(|| sql.to_owned())?;
        txn.commit().await?;
        Ok(row)
    }

    /// A run that is over, as that of a server whose output goes on.
    async fn run(&self) -> Result<RunId> {
        let sql = format!(
            "with run as (
                 insert into ops.runs (project_id, kind, status, git_ref, commit_sha, finished_at)
                 select id, 'build', 'succeeded', 'main', 'abcdef0', now() from ops.projects where slug = '{}'
                 returning id, project_id),
             head as (
                 insert into ops.run_log_heads (run_id, project_id, byte_limit) select id, project_id, null from run)
             select id from run",
            self.project
        );
        Ok(RunId(self.as_owner(&sql).await?.get(0)))
    }

    async fn last_seq(&self, run: RunId) -> Result<i64> {
        let sql = format!("select coalesce(max(last_seq), 0) from ops.run_log_heads where run_id = '{run}'");
        Ok(self.as_owner(&sql).await?.get(0))
    }

    async fn stored_bytes(&self) -> Result<i64> {
        let sql = "select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::int8 from pg_inherits
                   where inhparent = 'ops.run_log_chunks'::regclass";
        Ok(self.as_owner(sql).await?.get(0))
    }

    fn collect(&self, run: RunId, printer: &Printer, stream: &str) -> Result<Process> {
        Process::start(&self.installation.data_dir, self.id, run, &printer.id, stream)
    }

    async fn throughput(&self, path: &Path, sum: &Sum, rounds: usize) -> Result<Vec<Figure>> {
        let printer = Printer::start(&self.id.to_string(), path)?;
        printer.wait()?;
        let (daemon, rate) = (dockerd()?, |took: Duration| sum.lines as f64 / took.as_secs_f64());
        // Once, so that both find the file in the page cache.
        printer.read_by_docker(sum.lines)?;
        let (mut by_docker, mut by_us) = (Vec::new(), Vec::new());
        let (mut ours, mut theirs, mut peak, mut stored) = (Duration::ZERO, Duration::ZERO, 0, 0);
        for round in 0..rounds.max(1) {
            by_docker.push(printer.read_by_docker(sum.lines)?);
            let run = self.run().await?;
            let (size, cpu, began) = (self.stored_bytes().await?, Usage::of(daemon)?.cpu, Instant::now());
            let usage = self.collect(run, &printer, &format!("round-{round}"))?.wait()?;
            by_us.push(began.elapsed());
            ours += usage.cpu;
            theirs += Usage::of(daemon)?.cpu - cpu;
            peak = peak.max(usage.peak_kb);
            stored = self.stored_bytes().await? - size;
            ensure!(
                self.stored(run).await? == *sum,
                "the lines that are stored are not those that were printed"
            );
        }
        let copy = self.copy(path).await?;
        let (docker, us) = (percentile(&by_docker, 0.0), percentile(&by_us, 0.0));
        Ok(vec![
            Figure::new("docker logs", rate(docker), "lines/s"),
            Figure::new("COPY, a row a line", rate(copy), "lines/s"),
            Figure::new("collected and committed", rate(us), "lines/s"),
            Figure::new("collected, part of docker logs", rate(us) / rate(docker), "").at_least(GOAL_RATE),
            Figure::new(
                "our processor time, part of dockerd's",
                ours.as_secs_f64() / theirs.as_secs_f64(),
                "",
            )
            .at_most(1.0),
            Figure::new("memory of the collector, peak", peak as f64 * 1024.0 / 1e6, "MB")
                .at_most(GOAL_MEMORY_MB),
            Figure::new("stored, part of raw", stored as f64 / sum.bytes as f64, "").at_most(GOAL_STORED),
        ])
    }

    /// The same lines into a table of the same columns, a row each: as fast as rows go in.
    async fn copy(&self, path: &Path) -> Result<Duration> {
        let mut conn = self.owner.acquire().await?;
        conn.execute("set role ops_owner").await?;
        conn.execute("create table ops.bench_lines (like ops.run_logs)").await?;
        conn.execute("alter table ops.bench_lines add primary key (run_id, seq, created_at)").await?;
        let began = Instant::now();
        let columns = "run_id, project_id, seq, stream, log_level, message, metadata, created_at";
        let mut copy = conn.copy_in_raw(&format!("copy ops.bench_lines ({columns}) from stdin")).await?;
        let (mut buffer, mut line, mut seq) = (Vec::with_capacity(1 << 20), String::new(), 0_u64);
        let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
        let id = RunId::new();
        while file.read_line(&mut line)? > 0 {
            seq += 1;
            let text = line.trim_end_matches('\n').replace('\\', "\\\\");
            writeln!(buffer, "{id}\t{id}\t{seq}\todoo\tinfo\t{text}\t{{}}\t2026-11-21 01:37:29.074Z")?;
            line.clear();
            if buffer.len() >= 1 << 20 {
                copy.send(std::mem::take(&mut buffer)).await?;
            }
        }
        copy.send(buffer).await?;
        copy.finish().await?;
        let took = began.elapsed();
        conn.execute("drop table ops.bench_lines").await?;
        conn.execute("reset role").await?;
        Ok(took)
    }

    /// What is in the log, read as everybody reads it, page by page.
    async fn stored(&self, run: RunId) -> Result<Sum> {
        let mut conn = self.owner.acquire().await?;
        let mut txn = conn.begin().await?;
        txn.execute("set local role ops_owner").await?;
        let (mut sum, mut after) = (Summing::default(), 0);
        loop {
            let page = query::page(&mut txn, run, after, 10_000)
                .await
                .map_err(|error| anyhow::anyhow!("{error:?}"))?;
            let Some(last) = page.last() else { return Ok(sum.end()) };
            for (line, seq) in page.iter().zip(after + 1..) {
                ensure!(line.seq == seq, "a gap in the sequence at {seq}");
                sum.add(&line.message);
            }
            after = last.seq;
        }
    }

    /// The collecting process is killed while the container prints.
    async fn kills(&self, path: &Path, sum: &Sum) -> Result<Vec<Figure>> {
        let run = self.run().await?;
        let printer = Printer::start(&self.id.to_string(), path)?;
        let (mut peak, mut killed) = (0, 0);
        let mut process = self.collect(run, &printer, "odoo")?;
        for part in KILLS {
            while (self.last_seq(run).await? as f64) < sum.lines as f64 * part {
                if process.has_ended()? {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if !process.has_ended()? {
                peak = peak.max(process.kill()?.peak_kb);
                killed += 1;
                process = self.collect(run, &printer, "odoo")?;
            }
        }
        peak = peak.max(process.wait()?.peak_kb);
        let stored = self.stored(run).await?;
        let same = stored == *sum;
        if !same {
            eprintln!("printed {sum:?}, stored {stored:?}");
        }
        Ok(vec![
            Figure::new("collectors killed meanwhile", f64::from(killed), "").at_least(KILLS.len() as f64),
            Figure::new("same SHA-256 as printed", f64::from(u8::from(same)), "").at_least(1.0),
            Figure::new("memory while killed and resumed, peak", peak as f64 * 1024.0 / 1e6, "MB")
                .at_most(GOAL_MEMORY_MB),
        ])
    }

    /// A person who may see everything, and a token.
    async fn person(&self, name: &str) -> Result<String> {
        let token = Secret::token();
        let hash: String = token.fingerprint().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let sql = format!(
            "with person as (
                 insert into ops.users (name, email, platform_admin) values ('{name}', '{name}@example.test', true) returning id),
             token as (
                 insert into ops.api_tokens (hash, user_id, name) select '\\x{hash}', id, 'bench' from person)
             select id from person"
        );
        self.as_owner(&sql).await?;
        Ok(token.expose().to_owned())
    }

    async fn latency(&self, folder: &Path, arguments: &Arguments) -> Result<Vec<Figure>> {
        let pipe = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status()?;
        ensure!(made.success(), "mkfifo");
        let run = self.run().await?;
        let printer = Printer::start(&self.id.to_string(), &pipe)?;
        let process = self.collect(run, &printer, "odoo")?;
        let (sender, mut arrivals) = mpsc::unbounded_channel();
        let mut token = String::new();
        // One of them reads nothing.
        let readers = arguments.readers.max(2) - 1;
        for reader in 0..readers {
            // A person may have 32 sockets.
            if reader % 25 == 0 {
                token = self.person(&format!("bench-{reader}-{}", RunId::new())).await?;
            }
            watch(&self.installation, &token, &run.to_string(), 0, reader, sender.clone()).await?;
        }
        drop(sender);
        let _stalled = stall(&self.installation, &token, &run.to_string(), 0).await?;
        let (rate, seconds) = (arguments.rate, arguments.seconds);
        let writing = tokio::task::spawn_blocking(move || write_at(&pipe, rate, seconds));
        let total = i64::try_from(rate * seconds)?;
        let mut frames: Vec<Arrival> = Vec::new();
        let mut done = 0;
        while done < readers {
            let arrival = tokio::time::timeout(Duration::from_secs(60), arrivals.recv()).await;
            let arrival = arrival.context("the last lines do not come")?.context("readers were cut off")?;
            done += usize::from(arrival.last_seq >= total);
            frames.push(arrival);
        }
        let written = writing.await??;
        process.wait()?;
        let samples = latencies(&frames, readers, &written);
        Ok(vec![
            Figure::new("watched", rate as f64, "lines/s"),
            Figure::new("frames to each reader", frames.len() as f64 / readers as f64, ""),
            Figure::milliseconds("line to frame, median", percentile(&samples, 0.5)).at_most(GOAL_MEDIAN_MS),
            Figure::milliseconds("line to frame, 99 of 100", percentile(&samples, 0.99))
                .at_most(GOAL_SLOW_MS),
            Figure::milliseconds("line to frame, slowest", percentile(&samples, 1.0)),
        ])
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, not an async worker")]
/// Writes lines at an even pace; tells when each was written.
fn write_at(pipe: &Path, rate: u64, seconds: u64) -> Result<Vec<Instant>> {
    // Waits for the container's side.
    let mut pipe = File::options().write(true).open(pipe)?;
    let (mut lines, mut written) = (Lines::new(), Vec::new());
    let began = Instant::now();
    for number in 0..rate * seconds {
        let due = began + Duration::from_secs_f64(number as f64 / rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let line = format!("{}\n", lines.next_line());
        written.push(Instant::now());
        pipe.write_all(line.as_bytes())?;
    }
    Ok(written)
}

/// From each line's being written to its arrival at each reader.
fn latencies(frames: &[Arrival], readers: usize, written: &[Instant]) -> Vec<Duration> {
    let mut seen = vec![0_usize; readers];
    let mut samples = Vec::new();
    for frame in frames {
        let last = usize::try_from(frame.last_seq).unwrap_or_default().min(written.len());
        let lines = written.get(seen[frame.reader]..last).unwrap_or_default();
        samples.extend(lines.iter().map(|at| frame.at.saturating_duration_since(*at)));
        seen[frame.reader] = last;
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_every_reader_counts_once() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let arrival = |reader, last_seq, ms| Arrival { reader, last_seq, at: at(ms) };
        let frames = [arrival(0, 2, 10), arrival(1, 3, 20), arrival(0, 3, 30)];
        let samples = latencies(&frames, 2, &[at(0), at(1), at(2)]);
        let expected: Vec<_> = [10, 9, 20, 19, 18, 28].map(Duration::from_millis).into();
        assert_eq!(samples, expected);
    }
}
