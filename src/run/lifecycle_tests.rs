//! docs/RUN_LIFECYCLE.md against the database: every function on a run in every state and situation. What it says
//! happens, and nothing else does.

#![expect(clippy::disallowed_methods, reason = "the states of runs are put together from pieces of SQL")]

use crate::{id::ProjectId, postgres::testing::TestDb, run::RunStatus};
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::collections::BTreeSet;

/// From, to, function, event.
type Transition = (String, String, String, String);

/// What a run may be like beside its state.
#[derive(Debug, Clone, Copy)]
struct Situation {
    cancel_requested: bool,
    superseded: bool,
    attempt: i32,
    /// A newer run waits that makes this one needless.
    replaced: bool,
}

impl Situation {
    fn all() -> impl Iterator<Item = Self> {
        (0..16).map(|bits| Self {
            cancel_requested: bits & 1 != 0,
            // Who supersedes what is under way cancels it.
            superseded: bits & 3 == 3,
            attempt: if bits & 4 == 0 { 1 } else { 3 },
            replaced: bits & 8 != 0,
        })
    }
}

const RUN: &str = "11111111-1111-7111-8111-111111111111";
const NEWER: &str = "22222222-2222-7222-8222-222222222222";

/// Every function that may change a run's state, as its caller would call it.
fn calls() -> Vec<(&'static str, String)> {
    let mut calls = vec![
        ("claim_next_run", "select ops.claim_next_run('w')".to_owned()),
        ("start_workflow_run", format!("select ops.start_workflow_run('{RUN}', 'w', 7)")),
        ("retry_run", format!("select ops.retry_run('{RUN}', 7, 'why')")),
        ("hand_back_run", format!("select ops.hand_back_run('{RUN}', 7, 'why')")),
        (
            "requeue_lost_runs",
            "update ops.runs set lease_expires_at = now() - interval '1 second' where lease is not null; \
             select ops.requeue_lost_runs()"
                .to_owned(),
        ),
        ("requeue_lost_runs", "select ops.release_worker_runs('w')".to_owned()),
        ("cancel_run", format!("select ops.cancel_run('{RUN}')")),
        ("cancel_run", format!("select ops.cancel_run('{RUN}', '{NEWER}')")),
        ("complete_workflow_run", format!("select ops.complete_workflow_run('{RUN}', 0)")),
        ("complete_workflow_run", format!("select ops.complete_workflow_run('{RUN}', 1, 'no')")),
        ("", format!("select ops.append_event('{RUN}', 'step_started', '{{}}', 7)")),
        ("", format!("select ops.heartbeat('w', array['{RUN}']::uuid[], array[7])")),
        ("", format!("select ops.rerun('{RUN}')")),
        ("", format!("select ops.set_run_priority('{RUN}', 5)")),
    ];
    for status in RunStatus::ALL {
        calls.push(("finish_run", format!("select ops.finish_run('{RUN}', 7, '{status}', 0, null)")));
    }
    calls
}

async fn put(conn: &mut PgConnection, status: RunStatus, is: Situation, project: ProjectId) {
    let held = matches!(status, RunStatus::Claimed | RunStatus::Running);
    let insert = "insert into ops.runs
            (id, project_id, kind, status, git_ref, commit_sha, params, serial_key, attempt, lease, worker_id,
             lease_expires_at, queued_at, finished_at, cancel_requested_at)
        values ($1::uuid, $2, 'build', $3, 'refs/heads/x', 'aaaaaaa', '{\"stage\": \"development\"}', 'branch:x', $4, $5,
                case when $5 is not null then 'w' end, case when $5 is not null then now() + interval '30 seconds' end,
                now() - interval '1 minute', case when $6 then now() end, case when $7 then now() end)";
    sqlx::query(insert)
        .bind(RUN)
        .bind(project.0)
        .bind(status.as_str())
        .bind(if status == RunStatus::Queued { 0 } else { is.attempt })
        // What has ended keeps the lease it ended under.
        .bind((held || status.is_terminal()).then_some(7_i64))
        .bind(status.is_terminal())
        .bind(is.cancel_requested)
        .execute(&mut *conn)
        .await
        .unwrap();
    if is.replaced || is.superseded {
        let newer =
            "insert into ops.runs (id, project_id, kind, git_ref, commit_sha, params, serial_key, run_after)
            select $1::uuid, project_id, kind, git_ref, commit_sha, params, case when $2 then serial_key end,
                   now() + interval '1 hour'
            from ops.runs";
        sqlx::query(newer).bind(NEWER).bind(is.replaced).execute(&mut *conn).await.unwrap();
    }
    if is.superseded {
        let by = "update ops.runs set superseded_by = $1::uuid where id = $2::uuid";
        sqlx::query(by).bind(NEWER).bind(RUN).execute(&mut *conn).await.unwrap();
    }
}

async fn observed() -> BTreeSet<Transition> {
    let db = TestDb::new().await;
    let mut conn = db.superuser_options().connect().await.unwrap();
    let project = ProjectId::new();
    sqlx::query!("insert into ops.projects (id, slug, name) values ($1, 'shop', 'Shop')", project.0)
        .execute(&mut conn)
        .await
        .unwrap();
    let mut found = BTreeSet::new();
    for &from in RunStatus::ALL {
        for is in Situation::all() {
            for (function, call) in calls() {
                let mut txn = conn.begin().await.unwrap();
                put(&mut txn, from, is, project).await;
                // A refusal changes nothing, which is what is looked at.
                let _ = sqlx::raw_sql(&format!("savepoint before; {call}")).execute(&mut *txn).await;
                let after = sqlx::query_as::<_, (String, Option<String>)>(
                    "select r.status, (select e.type from ops.run_events e where e.run_id = r.id order by e.id desc limit 1)
                     from ops.runs r where r.id = $1::uuid",
                )
                .bind(RUN);
                // The call failed, and the transaction with it.
                let after = after.fetch_one(&mut *txn).await.ok();
                if let Some((to, event)) = after.filter(|(to, _)| to != from.as_str()) {
                    found.insert((from.to_string(), to, function.to_owned(), event.unwrap_or_default()));
                }
                txn.rollback().await.unwrap();
            }
        }
    }
    found
}

/// The table under "Transitions": from, to, function, event.
fn documented() -> BTreeSet<Transition> {
    let text = include_str!("../../docs/RUN_LIFECYCLE.md");
    let table = text.split("\n## Transitions\n").nth(1).unwrap().split("\n## ").next().unwrap();
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cell = |n: usize| line.split('|').nth(n).unwrap().trim().trim_matches('`').to_owned();
            (cell(1), cell(2), cell(3), cell(4))
        })
        .collect()
}

#[tokio::test]
async fn the_document_says_what_the_database_does() {
    let (documented, observed) = (documented(), observed().await);
    let lines = |set: BTreeSet<&Transition>| {
        set.into_iter()
            .map(|(a, b, c, d)| format!("| `{a}` | `{b}` | `{c}` | `{d}` |"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let missing = lines(observed.difference(&documented).collect());
    let wrong = lines(documented.difference(&observed).collect());
    assert!(missing.is_empty() && wrong.is_empty(), "not in the document:\n{missing}\nnot so:\n{wrong}");
    // Its diagram shows the same, without saying by whom.
    let text = include_str!("../../docs/RUN_LIFECYCLE.md");
    let diagram = text.split("stateDiagram-v2\n").nth(1).unwrap().split("```").next().unwrap();
    let drawn: BTreeSet<_> = diagram
        .lines()
        .filter_map(|line| line.trim().split_once(" --> "))
        .map(|(from, to)| (from.to_owned(), to.split(':').next().unwrap().trim().to_owned()))
        .filter(|(from, to)| from != "[*]" && to != "[*]")
        .collect();
    let moves: BTreeSet<_> = observed.into_iter().map(|(from, to, _, _)| (from, to)).collect();
    assert_eq!(drawn, moves);
}

/// What has ended stays as it ended, whoever says what.
#[tokio::test]
async fn nothing_leaves_an_end() {
    let ended: Vec<_> = documented()
        .into_iter()
        .filter(|(from, ..)| from.parse::<RunStatus>().is_ok_and(RunStatus::is_terminal))
        .collect();
    assert_eq!(ended, []);
    for (from, to, ..) in documented() {
        from.parse::<RunStatus>().unwrap();
        to.parse::<RunStatus>().unwrap();
    }
}
