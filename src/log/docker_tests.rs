//! The collector between a real daemon and a real PostgreSQL.

use super::{
    MAX_LINE,
    collector::{CollectEnd, Collector},
};
use crate::{
    docker::{
        LogRotation, Mount,
        testing::{TestDocker, start},
    },
    id::RunId,
    postgres::testing::TestDb,
    run::LogLevel,
};
use sqlx::{ConnectOptions, PgConnection};
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinHandle};

/// A line as the tap saw it.
#[derive(Debug, PartialEq)]
struct Collected {
    level: LogLevel,
    message: String,
}

impl From<super::Collected<'_>> for Collected {
    fn from(line: super::Collected<'_>) -> Self {
        Self { level: line.level, message: line.message.to_owned() }
    }
}

struct Bench {
    docker: TestDocker,
    db: TestDb,
    superuser: PgConnection,
    run: RunId,
}

async fn bench() -> Bench {
    let (docker, db) = tokio::join!(start(), TestDb::new());
    let mut superuser = db.superuser_options().connect().await.unwrap();
    sqlx::query_scalar!("select ops.create_project('p', 'P')").fetch_one(&mut superuser).await.unwrap();
    let run = sqlx::query_scalar!(r#"select ops.queue_run('p', 'build', 'main', 'abcdef0') as "id!""#)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    Bench { docker, db, superuser, run: RunId(run) }
}

fn level_of(line: &str) -> LogLevel {
    if line.contains("ERROR") { LogLevel::Error } else { LogLevel::Info }
}

impl Bench {
    fn collector(&self) -> Collector {
        Collector::new(self.db.worker.clone(), self.docker.docker.clone(), "worker-1")
    }

    async fn follow(&self, container: &str) -> (CollectEnd, Vec<Collected>) {
        let mut lines = Vec::new();
        let end = self
            .collector()
            .follow(self.run, container, "odoo", level_of, |line| lines.push(line.into()))
            .await;
        (end.unwrap(), lines)
    }

    /// A collector that can be killed; what it stored comes out of the channel.
    fn spawn(&self, container: &str) -> (JoinHandle<CollectEnd>, mpsc::UnboundedReceiver<Collected>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (collector, run, container) = (self.collector(), self.run, container.to_owned());
        let task = tokio::spawn(async move {
            let tap = move |line: super::Collected<'_>| _ = sender.send(line.into());
            collector.follow(run, &container, "odoo", level_of, tap).await.unwrap()
        });
        (task, receiver)
    }

    /// Everything in the run's log, after checking that the sequence has no gap.
    async fn stored(&mut self) -> Vec<String> {
        let rows = sqlx::query!(
            r#"select seq as "seq!", message as "message!" from ops.run_logs where run_id = $1 order by seq"#,
            self.run.0
        )
        .fetch_all(&mut self.superuser)
        .await
        .unwrap();
        assert!(rows.iter().zip(1..).all(|(row, seq)| row.seq == seq), "a gap in the sequence");
        rows.into_iter().map(|row| row.message).collect()
    }

    async fn clean(self) {
        self.docker.clean().await;
    }
}

#[tokio::test]
async fn a_hundred_thousand_lines_arrive_complete_and_in_order() {
    let mut bench = bench().await;
    let container = bench.docker.run_script("lines", "/bin/busybox seq 1 100000").await;
    let (end, tapped) = bench.follow(&container).await;
    assert_eq!(end, CollectEnd::Finished);
    let expected: Vec<String> = (1..=100_000).map(|n| n.to_string()).collect();
    assert!(bench.stored().await == expected);
    assert!(tapped.into_iter().map(|line| line.message).eq(expected));
    // Once more, by another worker: there is nothing left to store.
    assert_eq!(bench.follow(&container).await, (CollectEnd::Finished, vec![]));
    let source = sqlx::query!("select stream, collector, ended_at from ops.log_sources")
        .fetch_one(&mut bench.superuser)
        .await
        .unwrap();
    assert_eq!((source.stream.as_str(), source.collector.as_str()), ("odoo", "worker-1"));
    assert!(source.ended_at.is_some());
    bench.clean().await;
}

#[tokio::test]
async fn a_line_of_200_mb_is_stored_in_bounded_memory() {
    let mut bench = bench().await;
    let script = "/bin/busybox head -c 209715200 /dev/zero | /bin/busybox tr '\\0' x; echo; echo end";
    let container = bench.docker.run_script("long", script).await;
    let mut last = None;
    let end = bench
        .collector()
        .follow(bench.run, &container, "odoo", level_of, |line| last = Some(line.message.to_owned()))
        .await;
    assert_eq!((end.unwrap(), last.as_deref()), (CollectEnd::Finished, Some("end")));
    let parts = sqlx::query!(
        r#"select count(*) as "parts!", sum(length(message)) as "characters!", max(octet_length(message)) as "longest!",
                  count(*) filter (where metadata @> '{"continued": true}') as "continued!"
           from ops.run_logs where run_id = $1 and message like 'x%'"#,
        bench.run.0
    )
    .fetch_one(&mut bench.superuser)
    .await
    .unwrap();
    assert_eq!((parts.parts, parts.characters, parts.continued), (200, 200 * 1024 * 1024, 199));
    assert_eq!(usize::try_from(parts.longest).unwrap(), MAX_LINE);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 120 * 1024, "{peak} kB at the peak");
    bench.clean().await;
}

#[tokio::test]
async fn killed_three_times_it_leaves_no_gap_and_repeats_nothing() {
    let mut bench = bench().await;
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo out $i; echo err $i >&2; done";
    let container = bench.docker.run_script("killed", script).await;
    for lines in [10, 2_000, 9_000] {
        let (task, mut stored) = bench.spawn(&container);
        for _ in 0..lines {
            stored.recv().await.unwrap();
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let (end, _) = bench.follow(&container).await;
    assert_eq!(end, CollectEnd::Finished);
    let stored = bench.stored().await;
    assert_eq!(stored.len(), 40_000);
    for stream in ["out", "err"] {
        let mine = stored.iter().filter(|line| line.starts_with(stream));
        assert!(mine.zip(1..).all(|(line, n)| *line == format!("{stream} {n}")), "{stream}");
    }
    bench.clean().await;
}

#[tokio::test]
async fn a_database_that_breaks_off_loses_and_repeats_nothing() {
    let mut bench = bench().await;
    let script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); echo line $i; done";
    let container = bench.docker.run_script("broken", script).await;
    let (task, mut stored) = bench.spawn(&container);
    let mut tapped = Vec::new();
    for _ in 0..8 {
        tapped.push(stored.recv().await.unwrap());
        // In the middle of whatever it does.
        sqlx::query!(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ops_worker' and datname = current_database()"
        )
        .fetch_all(&mut bench.superuser)
        .await
        .unwrap();
    }
    while let Some(line) = stored.recv().await {
        tapped.push(line);
    }
    assert_eq!(task.await.unwrap(), CollectEnd::Finished);
    let expected: Vec<String> = (1..=30_000).map(|n| format!("line {n}")).collect();
    assert!(bench.stored().await == expected);
    assert!(tapped.into_iter().map(|line| line.message).eq(expected), "the tap sees each line once");
    bench.clean().await;
}

#[tokio::test]
async fn streams_do_not_tear_each_other_apart() {
    let mut bench = bench().await;
    let script = "printf 'half '; echo 'whole ERROR' >&2; printf 'a\\0b\\377c' >&2; echo other; printf 'line\\r\\n' >&2; printf end";
    let container = bench.docker.run_script("torn", script).await;
    let (end, tapped) = bench.follow(&container).await;
    assert_eq!(end, CollectEnd::Finished);
    let mut stored = bench.stored().await;
    assert!(tapped.iter().map(|line| &line.message).eq(&stored));
    assert_eq!(tapped.iter().filter(|line| line.level == LogLevel::Error).count(), 1);
    stored.sort_unstable();
    assert_eq!(stored, ["ab\u{fffd}cline", "end", "half other", "whole ERROR"]);
    bench.clean().await;
}

#[tokio::test]
async fn whoever_comes_later_takes_over() {
    let mut bench = bench().await;
    let script = "echo 1; while [ ! -e /mnt/go ]; do true; done; echo 2";
    let mut spec = bench.docker.script("lease", script);
    spec.mounts =
        vec![Mount { source: bench.docker.root.path().into(), target: "/mnt".into(), read_only: true }];
    let container = bench.docker.docker.create_container(&spec).await.unwrap();
    // Before it is started: the collector waits for it.
    let (first, mut first_stored) = bench.spawn(&container);
    bench.docker.docker.start_container(&container).await.unwrap();
    assert_eq!(first_stored.recv().await.unwrap().message, "1");
    let lease = async |conn: &mut PgConnection| {
        sqlx::query_scalar!(r#"select lease as "lease!" from ops.log_sources"#).fetch_one(conn).await.unwrap()
    };
    let before = lease(&mut bench.superuser).await;
    let (second, mut second_stored) = bench.spawn(&container);
    // The second has the lease once the source says so.
    while lease(&mut bench.superuser).await == before {
        assert!(!second.is_finished(), "it took nothing over");
    }
    std::fs::write(bench.docker.root.path().join("go"), "").unwrap();
    assert_eq!(first.await.unwrap(), CollectEnd::LeaseLost);
    assert_eq!(second_stored.recv().await.unwrap().message, "2");
    assert_eq!(second.await.unwrap(), CollectEnd::Finished);
    assert_eq!(bench.stored().await, ["1", "2"]);
    bench.clean().await;
}

#[tokio::test]
async fn the_output_limit_ends_it() {
    let mut bench = bench().await;
    sqlx::query!(
        "insert into ops.run_log_heads (run_id, project_id, byte_limit)
         select id, project_id, 100000 from ops.runs where id = $1
         on conflict (run_id) do update set byte_limit = excluded.byte_limit",
        bench.run.0
    )
    .execute(&mut bench.superuser)
    .await
    .unwrap();
    let container = bench.docker.run_script("limit", "while true; do echo 0123456789; done").await;
    let (end, _) = bench.follow(&container).await;
    assert_eq!(end, CollectEnd::OutputLimit);
    let bytes: usize = bench.stored().await.iter().map(String::len).sum();
    assert!(bytes <= 100_000, "{bytes}");
    bench.clean().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_said_behind_what_could() {
    let mut bench = bench().await;
    let container = bench.docker.run_script("broken", "echo 1; echo 2").await;
    bench.docker.docker.wait_container(&container).await.unwrap();
    bench.follow(&container).await;
    let end = bench.collector().give_up(bench.run, &container, "odoo", "invalid\ncharacter").await;
    assert_eq!(end.unwrap(), CollectEnd::Finished);
    let said = "The rest of what was printed here cannot be read: invalid character";
    assert_eq!(bench.stored().await, ["1", "2", said]);
    // Where it stands is as before.
    assert_eq!(bench.follow(&container).await, (CollectEnd::Finished, vec![]));
    bench.clean().await;
}

#[tokio::test]
async fn a_server_that_outran_its_reader_is_noted() {
    let mut bench = bench().await;
    // 200 MB where the daemon keeps 150.
    let script = "echo first; while [ ! -e /mnt/go ]; do true; done; line=$(/bin/busybox head -c 15000 /dev/zero | /bin/busybox tr '\\0' x); \
                  i=0; while [ $i -lt 14000 ]; do i=$((i+1)); echo $i $line; done";
    let mut spec = bench.docker.script("rotated", script);
    spec.logs = LogRotation::Server;
    spec.mounts =
        vec![Mount { source: bench.docker.root.path().into(), target: "/mnt".into(), read_only: true }];
    let container = bench.docker.docker.create_container(&spec).await.unwrap();
    bench.docker.docker.start_container(&container).await.unwrap();
    let (task, mut stored) = bench.spawn(&container);
    assert_eq!(stored.recv().await.unwrap().message, "first");
    task.abort();
    std::fs::write(bench.docker.root.path().join("go"), "").unwrap();
    let ended = bench.docker.docker.wait_container(&container);
    tokio::time::timeout(Duration::from_secs(120), ended).await.unwrap().unwrap();
    assert_eq!(bench.follow(&container).await.0, CollectEnd::Finished);
    let stored = bench.stored().await;
    let number = |line: &String| line.split(' ').next().unwrap().parse::<u32>().unwrap();
    assert!(stored[1].contains("bytes lost"), "{}", &stored[1][..40]);
    assert!(number(&stored[2]) > 1);
    assert!(stored[2..].windows(2).all(|pair| number(&pair[0]) + 1 == number(&pair[1])));
    assert_eq!(number(stored.last().unwrap()), 14_000);
    bench.clean().await;
}

/// Whoever was killed while the server printed more than the daemon keeps learns by how much.
#[tokio::test]
async fn a_gap_says_how_many_bytes_it_lost() {
    let mut bench = bench().await;
    let script = "echo first; while [ ! -e /mnt/go ]; do true; done; line=$(/bin/busybox head -c 15000 /dev/zero | /bin/busybox tr '\\0' x); \
                  i=0; while [ $i -lt 14000 ]; do i=$((i+1)); echo $i $line; done; echo done >/mnt/done; \
                  while [ ! -e /mnt/end ]; do true; done; echo last";
    let mut spec = bench.docker.script("lost", script);
    spec.logs = LogRotation::Server;
    let root = bench.docker.root.path().to_owned();
    // The container's user is not ours.
    std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    spec.mounts = vec![Mount { source: root.clone(), target: "/mnt".into(), read_only: false }];
    let container = bench.docker.docker.create_container(&spec).await.unwrap();
    bench.docker.docker.start_container(&container).await.unwrap();
    let (task, mut stored) = bench.spawn(&container);
    assert_eq!(stored.recv().await.unwrap().message, "first");
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    std::fs::write(root.join("go"), "").unwrap();
    let printed = async {
        while !root.join("done").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), printed).await.unwrap();
    let (task, mut stored) = bench.spawn(&container);
    let said = stored.recv().await.unwrap();
    let number = |line: &str| line.split(' ').next().unwrap().parse::<usize>().unwrap();
    let first = number(&stored.recv().await.unwrap().message);
    std::fs::write(root.join("end"), "").unwrap();
    assert_eq!(task.await.unwrap(), CollectEnd::Finished);
    // Each line is its number, a space, its 15,000 letters and its end.
    let lost: usize = (1..first).map(|n| n.to_string().len() + 15_002).sum();
    assert!(lost > 20_000_000, "nothing was rotated away");
    assert_eq!(said.level, LogLevel::Warn);
    let told = said.message.strip_prefix("About ").unwrap();
    let (bytes, rest) = told.split_once(' ').unwrap();
    assert_eq!(rest, "bytes lost: the container's log was rotated while it was not being read.");
    // The shim's own few words are counted too.
    assert!(bytes.parse::<usize>().unwrap().abs_diff(lost) <= 64, "{bytes} told, {lost} lost");
    let stored = bench.stored().await;
    assert_eq!(stored.len(), 14_000 - (first - 1) + 3);
    assert!(stored[2..stored.len() - 1].iter().zip(first..).all(|(line, n)| number(line) == n));
    assert_eq!(stored.last().unwrap(), "last");
    bench.clean().await;
}

/// While somebody reads often enough, rotation loses nothing, whoever is killed.
#[tokio::test]
async fn killed_around_a_rotation_it_loses_nothing() {
    let mut bench = bench().await;
    let script = "line=$(/bin/busybox head -c 15000 /dev/zero | /bin/busybox tr '\\0' x); \
                  i=0; while [ $i -lt 8000 ]; do i=$((i+1)); echo $i $line; \
                  [ $((i % 1600)) = 0 ] && while [ ! -e /mnt/$i ]; do /bin/busybox usleep 10000; done; done; true";
    let mut spec = bench.docker.script("around", script);
    spec.logs = LogRotation::Server;
    let root = bench.docker.root.path().to_owned();
    spec.mounts = vec![Mount { source: root.clone(), target: "/mnt".into(), read_only: true }];
    let container = bench.docker.docker.create_container(&spec).await.unwrap();
    bench.docker.docker.start_container(&container).await.unwrap();
    // Whoever is killed may be far ahead of the lines counted here, but not ahead of what was printed.
    for (lines, printed) in [1500, 1000, 700, 700, 1500].into_iter().zip((1600..).step_by(1600)) {
        let (task, mut stored) = bench.spawn(&container);
        for _ in 0..lines {
            stored.recv().await.unwrap();
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        std::fs::write(root.join(printed.to_string()), "").unwrap();
    }
    assert_eq!(bench.follow(&container).await.0, CollectEnd::Finished);
    let stored = bench.stored().await;
    assert_eq!(stored.len(), 8000);
    assert!(
        stored.iter().zip(1..).all(|(line, n)| line.starts_with(&format!("{n} x")) && line.len() > 15_000)
    );
    bench.clean().await;
}
