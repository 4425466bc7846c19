//! Many who claim at once, each through a connection of its own and in plain SQL. What was handed out is counted from
//! what they were told, not from what the database says afterwards.

use super::testing::{Yard, ask};
use crate::postgres::ops::Role;
use sqlx::{ConnectOptions, Executor, PgConnection, Row};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex},
};
use tokio::{sync::Barrier, task::JoinSet};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_workers_share_five_runs() {
    let mut yard = Yard::new().await;
    let mut queued = BTreeSet::new();
    for _ in 0..5 {
        queued.insert(yard.queue().await.to_string());
    }
    let barrier = Arc::new(Barrier::new(3));
    let mut workers = JoinSet::new();
    for worker in 0..3 {
        let mut conn = yard.db.options(Role::Worker).connect().await.unwrap();
        let barrier = Arc::clone(&barrier);
        workers.spawn(async move {
            barrier.wait().await;
            let mut mine = Vec::new();
            let sql = format!("select id from ops.claim_next_run('worker-{worker}')");
            while let Some(id) = ask(&mut conn, &sql).await.unwrap() {
                mine.push(id);
            }
            mine
        });
    }
    let told: Vec<String> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), queued);
}

const RUNS: usize = 10_000;
const CLAIMERS: usize = 32;
const KEYS: usize = 50;

/// What the claimers know among themselves.
#[derive(Debug, Default)]
struct Ledger {
    /// Run, key and lease of each claim.
    claims: Vec<(Uuid, Option<String>, i64)>,
    /// The keys of runs that somebody was told to work on and has not yet reported as done.
    held: HashMap<String, Uuid>,
    finished: HashSet<Uuid>,
    faults: Vec<String>,
}

impl Ledger {
    fn claimed(&mut self, run: Uuid, key: Option<String>, lease: i64) {
        if let Some(key) = &key
            && let Some(other) = self.held.insert(key.clone(), run)
        {
            self.faults.push(format!("{run} was handed out while {other} holds {key}"));
        }
        self.claims.push((run, key, lease));
    }

    /// Said before the database hears of it: from then on another may rightly be told to go.
    fn finishing(&mut self, run: Uuid, key: Option<&String>) {
        if let Some(key) = key {
            self.held.remove(key);
        }
        if !self.finished.insert(run) {
            self.faults.push(format!("{run} was finished twice"));
        }
    }
}

async fn claim_all(mut conn: PgConnection, worker: usize, ledger: Arc<Mutex<Ledger>>) {
    let claim = format!("select id, serial_key, lease from ops.claim_next_run('worker-{worker}')");
    loop {
        let Some(row) = conn.fetch_optional(claim.as_str()).await.unwrap() else {
            // Nothing for now: keys are held. The end is when every run was finished by somebody.
            if ledger.lock().unwrap().finished.len() >= RUNS {
                return;
            }
            tokio::task::yield_now().await;
            continue;
        };
        let (run, key, lease): (Uuid, Option<String>, i64) = (row.get(0), row.get(1), row.get(2));
        ledger.lock().unwrap().claimed(run, key.clone(), lease);
        let start = format!("select ops.start_workflow_run('{run}', 'worker-{worker}', {lease})");
        conn.execute(start.as_str()).await.unwrap();
        ledger.lock().unwrap().finishing(run, key.as_ref());
        let finish = format!("select ops.finish_run('{run}', {lease}, 'succeeded', 0, null)");
        conn.execute(finish.as_str()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_runs_reach_thirty_two_claimers_once_each_and_in_the_order_of_their_keys() {
    let mut yard = Yard::new().await;
    // Three of five take turns by one of the keys; ages and priorities are shuffled against the ids, by a fixed rule.
    let fill = format!(
        "insert into ops.runs (project_id, kind, git_ref, commit_sha, priority, serial_key, queued_at)
         select '{}', 'test', 'main', 'abcdef0', (n * 7919) % 4,
                case when n % 5 < 3 then 'database:' || (n / 5) % {KEYS} end,
                now() - interval '1 second' * ((n * 104729) % 10007)
         from generate_series(1, {RUNS}) n",
        yard.project
    );
    yard.superuser.execute(fill.as_str()).await.unwrap();
    yard.superuser.execute("analyze ops.runs").await.unwrap();

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut claimers = JoinSet::new();
    for worker in 0..CLAIMERS {
        let conn = yard.db.options(Role::Worker).connect().await.unwrap();
        claimers.spawn(claim_all(conn, worker, Arc::clone(&ledger)));
    }
    claimers.join_all().await;

    let ledger = Arc::into_inner(ledger).unwrap().into_inner().unwrap();
    assert_eq!(ledger.faults, [] as [String; 0]);
    assert_eq!(ledger.claims.len(), RUNS, "claims told");
    let told: HashSet<Uuid> = ledger.claims.iter().map(|(run, ..)| *run).collect();
    assert_eq!(told.len(), RUNS, "different runs told");
    let leases: HashSet<i64> = ledger.claims.iter().map(|(_, _, lease)| *lease).collect();
    assert_eq!(leases.len(), RUNS, "different leases told");

    // The order that each key's runs were handed out in, against the order that they stood in the queue.
    let mut given: BTreeMap<&str, Vec<(i64, Uuid)>> = BTreeMap::new();
    for (run, key, lease) in &ledger.claims {
        if let Some(key) = key {
            given.entry(key).or_default().push((*lease, *run));
        }
    }
    assert_eq!(given.len(), KEYS);
    for (key, mut given) in given {
        given.sort_unstable();
        let sql = format!(
            "select id from ops.runs where serial_key = '{key}' order by priority desc, queued_at, id"
        );
        let rows = yard.superuser.fetch_all(sql.as_str()).await.unwrap();
        let wanted: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(given.into_iter().map(|(_, run)| run).collect::<Vec<_>>(), wanted, "{key}");
    }

    let ended =
        "select string_agg(distinct format('%s, tried %s time(s)', status, attempt), '; ') from ops.runs";
    let ended = ask(&mut yard.superuser, ended).await.unwrap();
    assert_eq!(ended.as_deref(), Some("succeeded, tried 1 time(s)"));
    let events =
        "select count(*) || ' ' || count(distinct run_id) from ops.run_events where type = 'succeeded'";
    assert_eq!(ask(&mut yard.superuser, events).await.unwrap(), Some(format!("{RUNS} {RUNS}")));
}
