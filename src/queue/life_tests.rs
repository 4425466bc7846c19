//! Any order of what workers, people and failures do, against the model: the database agrees at every step, and
//! who has lost the lease changes nothing.

use super::{
    life_model::{Model, Outcome, Run, Said},
    testing::{Refusal, Yard, ask, new_project},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use sqlx::Executor;
use uuid::Uuid;

#[derive(Debug, Clone)]
enum Op {
    Queue { key: Option<u8>, priority: i32 },
    Claim { worker: u8 },
    Start { run: u8, worker: Option<u8>, lease: Lease },
    Heartbeat,
    Expire { run: u8 },
    RequeueLost,
    Finish { run: u8, lease: Lease, status: &'static str },
    Complete { run: u8, exit_code: i32 },
    Retry { run: u8, lease: Lease },
    HandBack { run: u8, lease: Lease },
    Cancel { run: u8 },
    Supersede { run: u8, by: u8 },
    Event { run: u8, lease: Lease },
    Line { run: u8, lease: Lease },
    Lines { run: u8, lease: Lease },
    Artifact { run: u8, key: u8, lease: Lease },
}

/// Which lease a caller shows.
#[derive(Debug, Clone, Copy)]
enum Lease {
    Current,
    /// One that the run had, or that another has.
    Other(u8),
    /// The form of the function that takes none.
    None,
}

fn lease() -> impl Strategy<Value = Lease> {
    prop_oneof![5 => Just(Lease::Current), 3 => any::<u8>().prop_map(Lease::Other), 1 => Just(Lease::None)]
}

/// Those that take a run among few: their histories get long.
fn op() -> impl Strategy<Value = Op> {
    let run = || 0..6u8;
    let status =
        prop::sample::select(vec!["succeeded", "succeeded", "warning", "failed", "timed_out", "canceled"]);
    prop_oneof![
        4 => (prop::option::of(0..2u8), 0..2i32).prop_map(|(key, priority)| Op::Queue { key, priority }),
        8 => (0..3u8).prop_map(|worker| Op::Claim { worker }),
        5 => (run(), prop::option::weighted(0.2, 0..3u8), lease())
            .prop_map(|(run, worker, lease)| Op::Start { run, worker, lease }),
        2 => Just(Op::Heartbeat),
        4 => run().prop_map(|run| Op::Expire { run }),
        4 => Just(Op::RequeueLost),
        3 => (run(), lease(), status).prop_map(|(run, lease, status)| Op::Finish { run, lease, status }),
        1 => (run(), 0..2i32).prop_map(|(run, exit_code)| Op::Complete { run, exit_code }),
        3 => (run(), lease()).prop_map(|(run, lease)| Op::Retry { run, lease }),
        2 => (run(), lease()).prop_map(|(run, lease)| Op::HandBack { run, lease }),
        1 => run().prop_map(|run| Op::Cancel { run }),
        1 => (run(), run()).prop_map(|(run, by)| Op::Supersede { run, by }),
        2 => (run(), lease()).prop_map(|(run, lease)| Op::Event { run, lease }),
        2 => (run(), lease()).prop_map(|(run, lease)| Op::Line { run, lease }),
        2 => (run(), lease()).prop_map(|(run, lease)| Op::Lines { run, lease }),
        2 => (run(), 0..2u8, lease()).prop_map(|(run, key, lease)| Op::Artifact { run, key, lease }),
    ]
}

/// The edges of a run's life. Claimed to failed or timed out: given up before it began.
fn is_edge(from: &str, to: &str) -> bool {
    match from {
        "queued" => matches!(to, "claimed" | "canceled" | "superseded"),
        "claimed" => matches!(to, "running" | "queued" | "failed" | "timed_out" | "canceled" | "superseded"),
        "running" => to != "claimed",
        _ => false,
    }
}

struct Play {
    yard: Yard,
    model: Model,
}

impl Play {
    fn at(&self, run: u8) -> Option<usize> {
        (!self.model.runs.is_empty()).then(|| usize::from(run) % self.model.runs.len())
    }

    fn lease_of(&self, at: usize, lease: Lease) -> Option<i64> {
        match lease {
            Lease::None => None,
            // What nobody was given yet, when it has none.
            Lease::Current => Some(self.model.runs[at].lease.unwrap_or(i64::MAX)),
            Lease::Other(n) => {
                let all: Vec<i64> = self.model.runs[at].leases.clone();
                let all = if all.is_empty() || n % 4 == 0 {
                    self.model.runs.iter().flat_map(|run| run.leases.iter().copied()).collect()
                } else {
                    all
                };
                Some(if all.is_empty() { 0 } else { all[usize::from(n) % all.len()] })
            }
        }
    }

    /// Everything that a worker could write.
    async fn everything(&mut self) -> String {
        let project = self.yard.project;
        let sql = format!(
            "select (select coalesce(string_agg(to_jsonb(r)::text, E'\\n' order by r.id), '') from ops.runs r
                     where r.project_id = '{project}')
                || (select coalesce(string_agg(to_jsonb(e)::text, E'\\n' order by e.id), '') from ops.run_events e
                    where e.project_id = '{project}')
                || (select coalesce(string_agg(to_jsonb(l)::text, E'\\n' order by l.run_id, l.seq), '') from ops.run_logs l
                    where l.project_id = '{project}')
                || (select coalesce(string_agg(to_jsonb(h)::text, E'\\n' order by h.run_id), '') from ops.run_log_heads h
                    where h.project_id = '{project}')
                || (select coalesce(string_agg(to_jsonb(a)::text, E'\\n' order by a.id), '') from ops.run_artifacts a
                    join ops.runs r on r.id = a.run_id where r.project_id = '{project}')"
        );
        ask(&mut self.yard.superuser, &sql).await.unwrap().unwrap()
    }

    async fn play(&mut self, op: &Op) {
        let before = self.everything().await;
        let statuses: Vec<_> = self.model.runs.iter().map(|run| run.status).collect();
        let Some((expected, said)) = self.call(op).await else { return };
        match (expected, &said) {
            (Ok(_), Ok(_)) => {}
            (Err((code, message)), Err(refusal)) => {
                assert!(refusal.code == code && refusal.message.starts_with(message), "{op:?}: {refusal:?}");
            }
            _ => panic!("{op:?}: the model says {expected:?}, the database {said:?}"),
        }
        if expected != Ok(Said::Changed) {
            assert_eq!(before, self.everything().await, "{op:?} changed what it may not ({expected:?})");
        }
        for (was, run) in statuses.iter().zip(&self.model.runs) {
            assert!(*was == run.status || is_edge(was, run.status), "{op:?}: {was} to {}", run.status);
        }
        self.compare(op).await;
    }

    /// What the model says and what PostgreSQL does. None when the operation has no object yet.
    async fn call(&mut self, op: &Op) -> Option<(Outcome, Result<Option<String>, Refusal>)> {
        let show = |lease: Option<i64>| lease.map_or(String::new(), |lease| format!(", {lease}"));
        let (expected, sql) = match *op {
            Op::Queue { key, priority } => {
                let key_sql = key.map_or("null".to_owned(), |key| format!("'key-{key}'"));
                let sql = format!(
                    "insert into ops.runs (project_id, kind, git_ref, commit_sha, priority, serial_key)
                     values ('{}', 'test', 'main', 'abcdef0', {priority}, {key_sql}) returning id::text",
                    self.yard.project
                );
                let row = self.yard.superuser.fetch_one(sql.as_str()).await.unwrap();
                let id: Uuid = sqlx::Row::get::<String, _>(&row, 0).parse().unwrap();
                self.model.runs.push(Run::new(id, key, priority));
                return Some((Ok(Said::Changed), Ok(None)));
            }
            Op::Claim { worker } => return Some(self.claim(worker).await),
            Op::Heartbeat => return Some(self.heartbeat().await),
            Op::Expire { run } => {
                let run = self.at(run).map(|at| &mut self.model.runs[at]).filter(|run| run.is_held())?;
                run.expired = true;
                let sql = format!(
                    "update ops.runs set lease_expires_at = clock_timestamp() - interval '1 second' where id = '{}'",
                    run.id
                );
                self.yard.superuser.execute(sql.as_str()).await.unwrap();
                return None;
            }
            Op::RequeueLost => (self.model.requeue_lost(), "select ops.requeue_lost_runs()".to_owned()),
            Op::Start { run, worker, lease } => {
                let at = self.at(run)?;
                let lease = self.lease_of(at, lease);
                let run = &mut self.model.runs[at];
                let worker = worker.or(run.worker).unwrap_or(0);
                let sql = format!("select ops.start_workflow_run('{}', 'w{worker}'{})", run.id, show(lease));
                (run.start(worker, lease), sql)
            }
            Op::Finish { run, lease, status } => {
                let at = self.at(run)?;
                let lease = self.lease_of(at, lease);
                let shown = lease.map_or("null".to_owned(), |lease| lease.to_string());
                let run = &mut self.model.runs[at];
                let sql = format!("select ops.finish_run('{}', {shown}, '{status}', 1, 'x')", run.id);
                (run.finish(lease, status), sql)
            }
            Op::Complete { run, exit_code } => {
                let at = self.at(run)?;
                let run = &mut self.model.runs[at];
                let sql = format!("select ops.complete_workflow_run('{}', {exit_code}, 'x')", run.id);
                (run.complete(exit_code), sql)
            }
            Op::Retry { run, lease } => {
                let at = self.at(run)?;
                let lease = Some(self.lease_of(at, lease).unwrap_or(0));
                let id = self.model.runs[at].id;
                let sql = format!("select ops.retry_run('{id}'{}, 'again', '0')", show(lease));
                (self.model.give_back(at, lease, false), sql)
            }
            Op::HandBack { run, lease } => {
                let at = self.at(run)?;
                let lease = Some(self.lease_of(at, lease).unwrap_or(0));
                let id = self.model.runs[at].id;
                let sql = format!("select ops.hand_back_run('{id}'{}, 'told to stop')", show(lease));
                (self.model.give_back(at, lease, true), sql)
            }
            Op::Cancel { run } => {
                let at = self.at(run)?;
                let sql = format!("select ops.cancel_run('{}')", self.model.runs[at].id);
                let said = ask(&mut self.yard.superuser, &sql).await;
                return Some((self.model.cancel(at, None), said));
            }
            Op::Supersede { run, by } => {
                let (at, by) = (self.at(run)?, self.at(by)?);
                let (run, newer) = (self.model.runs[at].id, self.model.runs[by].id);
                let sql = format!("select ops.cancel_run('{run}', '{newer}')");
                let said = ask(&mut self.yard.superuser, &sql).await;
                return Some((self.model.cancel(at, Some(by)), said));
            }
            Op::Event { run, lease } => {
                let at = self.at(run)?;
                let lease = self.lease_of(at, lease);
                let run = &mut self.model.runs[at];
                let sql =
                    format!("select ops.append_event('{}', 'note', '{{\"a\": 1}}'{})", run.id, show(lease));
                let expected = run.fence(lease);
                run.events += i64::from(expected.is_ok());
                (expected, sql)
            }
            Op::Line { run, lease } => {
                let at = self.at(run)?;
                let lease = self.lease_of(at, lease);
                let run = &mut self.model.runs[at];
                let sql =
                    format!("select ops.append_run_log('{}', 'info', 'line', '{{}}'{})", run.id, show(lease));
                let expected = run.fence(lease);
                run.lines += i64::from(expected.is_ok());
                (expected, sql)
            }
            Op::Lines { run, lease } => {
                let at = self.at(run)?;
                let lease = self.lease_of(at, lease);
                let run = &mut self.model.runs[at];
                let sql = format!(
                    "select ops.append_run_log('{}', '{{info,warn,error}}'::text[], '{{a,b,c}}'::text[], '{{}}'{})",
                    run.id,
                    show(lease)
                );
                let expected = run.fence(lease);
                run.lines += 3 * i64::from(expected.is_ok());
                (expected, sql)
            }
            Op::Artifact { run, key, lease } => {
                let at = self.at(run)?;
                let lease = self.lease_of(at, lease);
                let run = &mut self.model.runs[at];
                let expires = if lease.is_some() { ", null" } else { "" };
                let sql = format!(
                    "select ops.add_run_artifact('{}', 'a{key}', 's3://x', 'sha256:0', 'text/plain', 1{expires}{})",
                    run.id,
                    show(lease)
                );
                let expected = run.fence(lease);
                if expected.is_ok() && !run.artifacts.contains(&key) {
                    run.artifacts.push(key);
                }
                (expected, sql)
            }
        };
        let said = ask(&mut self.yard.worker, &sql).await;
        // The sequence is what the next reader waits for.
        if let (Op::Line { run, .. } | Op::Lines { run, .. }, Ok(Some(sequence))) = (op, &said) {
            let at = self.at(*run).unwrap();
            assert_eq!(*sequence, self.model.runs[at].lines.to_string());
        }
        Some((expected, said))
    }

    async fn claim(&mut self, worker: u8) -> (Outcome, Result<Option<String>, Refusal>) {
        let sql = format!("select id::text || ' ' || lease from ops.claim_next_run('w{worker}')");
        let said = ask(&mut self.yard.worker, &sql).await;
        let claimed = said.clone().unwrap().map(|text| {
            let (id, lease) = text.split_once(' ').unwrap();
            (id.parse::<Uuid>().unwrap(), lease.parse::<i64>().unwrap())
        });
        let next = self.model.next();
        assert_eq!(claimed.map(|(id, _)| id), next.map(|at| self.model.runs[at].id), "who is next");
        let Some((at, (_, lease))) = next.zip(claimed) else { return (Ok(Said::Nothing), said) };
        let newest = self.model.runs.iter().flat_map(|run| &run.leases).max();
        assert!(newest.is_none_or(|newest| *newest < lease), "the lease {lease} is not new");
        self.model.claim(at, worker, lease);
        (Ok(Said::Changed), said)
    }

    /// A worker that shows every lease that was ever given keeps those that hold.
    async fn heartbeat(&mut self) -> (Outcome, Result<Option<String>, Refusal>) {
        let all = self.model.runs.iter().flat_map(|run| run.leases.iter().map(|lease| (run.id, *lease)));
        let (ids, leases): (Vec<_>, Vec<_>) =
            all.map(|(id, lease)| (id.to_string(), lease.to_string())).unzip();
        let sql = format!(
            "select string_agg(run_id || ' ' || cancel_requested, ',' order by run_id)
             from ops.heartbeat('w0', '{{{}}}', '{{{}}}')",
            ids.join(","),
            leases.join(",")
        );
        let said = ask(&mut self.yard.worker, &sql).await;
        let mut expected = Vec::new();
        for run in self.model.runs.iter_mut().filter(|run| run.is_held()) {
            run.expired = false;
            expected.push(format!("{} {}", run.id, run.canceled));
        }
        expected.sort_unstable();
        assert_eq!(said.clone().unwrap().unwrap_or_default(), expected.join(","));
        (Ok(Said::Changed), said)
    }

    /// Each run as the model has it; each ended once; lines without a gap; nobody shares a key.
    async fn compare(&mut self, op: &Op) {
        let sql = format!(
            "select coalesce(string_agg(concat_ws('|', r.id, r.status, r.attempt, r.handed_back, r.lease,
                        coalesce(r.worker_id, '-'), r.superseded_by,
                        (select count(*) from ops.run_events e where e.run_id = r.id),
                        (select count(*) from ops.run_events e where e.run_id = r.id and e.type in
                            ('succeeded', 'warning', 'failed', 'timed_out', 'canceled', 'superseded')),
                        r.finished_at is not null,
                        (select count(*) from ops.run_logs l where l.run_id = r.id),
                        (select coalesce(max(l.seq), 0) from ops.run_logs l where l.run_id = r.id),
                        (select count(*) from ops.run_artifacts a where a.run_id = r.id)), E'\\n' order by r.queued_at), '')
             from ops.runs r where r.project_id = '{}'",
            self.yard.project
        );
        let found = ask(&mut self.yard.superuser, &sql).await.unwrap().unwrap_or_default();
        let wanted: Vec<String> = self
            .model
            .runs
            .iter()
            .map(|run| {
                let mut columns = vec![run.id.to_string(), run.status.to_owned()];
                columns.extend([run.attempt, run.handed_back].map(|n| n.to_string()));
                columns.extend(run.lease.map(|lease| lease.to_string()));
                columns.push(run.worker.map_or("-".to_owned(), |worker| format!("w{worker}")));
                columns.extend(run.superseded_by.map(|by| self.model.runs[by].id.to_string()));
                columns.push(run.events.to_string());
                columns.push(i32::from(run.has_ended()).to_string());
                columns.push(if run.has_ended() { "t" } else { "f" }.to_owned());
                columns.extend([run.lines, run.lines].map(|n| n.to_string()));
                columns.push(run.artifacts.len().to_string());
                columns.join("|")
            })
            .collect();
        assert_eq!(found, wanted.join("\n"), "after {op:?}");
        for run in &self.model.runs {
            assert!(run.attempt - run.handed_back <= super::life_model::ATTEMPTS, "tried too often: {run:?}");
            let sharing =
                self.model.runs.iter().filter(|o| o.is_held() && o.key.is_some() && o.key == run.key);
            assert!(sharing.count() <= 1, "two hold a key");
        }
    }
}

/// Hundreds of stories of three workers and six runs. A failing one is told again, shortened.
#[test]
fn the_database_keeps_to_the_model_whatever_happens_in_which_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let yard = runtime.block_on(Yard::new());
    let play = std::cell::RefCell::new(Some(Play { yard, model: Model::default() }));
    let config = Config { cases: 48, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let story = prop::collection::vec(op(), 1..80);
    let told = TestRunner::new(config).run(&story, |story| {
        let mut borrowed = play.borrow_mut();
        let play = borrowed.as_mut().unwrap();
        runtime.block_on(async {
            // A project of its own: claims are the whole queue's, so what is left of the last story leaves it.
            let ended = "update ops.runs set status = 'failed', finished_at = now()
                         where status in ('queued', 'claimed', 'running')";
            play.yard.superuser.execute(ended).await.unwrap();
            play.yard.project = new_project(&mut play.yard.superuser).await;
            play.model = Model::default();
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                for op in &story {
                    play.play(op).await;
                }
            });
        }));
        result.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            TestCaseError::fail(text.unwrap_or_else(|| "panicked".to_owned()))
        })
    });
    drop(runtime.block_on(async { play.borrow_mut().take() }));
    told.unwrap();
}
