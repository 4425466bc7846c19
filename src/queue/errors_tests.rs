//! Each function of the contract says what is wrong in the way that its comment promises: by SQLSTATE and message.

use super::testing::{Yard, ask};
use crate::postgres::ops::Role;
use sqlx::{ConnectOptions, Executor, PgConnection};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// Without any membership, by the console.
    Stranger,
    Viewer,
    Developer,
    Worker,
    Superuser,
}
use Who::{Developer, Stranger, Superuser, Viewer, Worker};

struct Callers {
    yard: Yard,
    web: PgConnection,
    people: [Uuid; 3],
}

impl Callers {
    async fn new() -> Self {
        let mut yard = Yard::new().await;
        let web = yard.db.options(Role::Web).connect().await.unwrap();
        let people = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
        for (person, role) in people.iter().zip([None, Some("viewer"), Some("developer")]) {
            let sql =
                format!("insert into ops.users (id, name, email) values ('{person}', 'x', '{person}@x')");
            yard.superuser.execute(sql.as_str()).await.unwrap();
            let Some(role) = role else { continue };
            let sql = format!(
                "insert into ops.project_memberships (project_id, user_id, role) values ('{}', '{person}', '{role}')",
                yard.project
            );
            yard.superuser.execute(sql.as_str()).await.unwrap();
        }
        Self { yard, web, people }
    }

    /// What is said, as `SQLSTATE message`, or that nothing is wrong.
    async fn say(&mut self, who: Who, sql: &str) -> String {
        let conn = match who {
            Worker => &mut self.yard.worker,
            Superuser => &mut self.yard.superuser,
            person => {
                let id = self.people[person as usize];
                let sql = format!("select set_config('ops.user_id', '{id}', false)");
                self.web.execute(sql.as_str()).await.unwrap();
                &mut self.web
            }
        };
        match ask(conn, sql).await {
            Ok(_) => "fine".to_owned(),
            Err(refusal) => format!("{} {}", refusal.code, refusal.message),
        }
    }
}

/// `{...}` are runs in that state, `{lease}` and `{old}` the lease that holds the running one and one that is lost.
const CASES: &[(Who, &str, &str)] = &[
    (Developer, "ops.create_project('x', 'X')", "42501 only platform administrators"),
    (Superuser, "ops.create_project('p1', 'X')", "23505 duplicate key"),
    (Superuser, "ops.create_project('Not a slug', 'X')", "23514 new row"),
    (Superuser, "ops.create_project('01990000-0000-7000-8000-000000000000', 'X')", "23514 new row"),
    (Stranger, "ops.queue_run('{project}', 'test', 'main', 'abcdef0')", "P0002 unknown project"),
    (Developer, "ops.queue_run('nowhere', 'test', 'main', 'abcdef0')", "P0002 unknown project"),
    (Viewer, "ops.queue_run('{project}', 'test', 'main', 'abcdef0')", "42501 your role"),
    (Worker, "ops.queue_run('{project}', 'test', 'main', 'abcdef0')", "42501 permission denied"),
    (Developer, "ops.queue_run('{project}', 'dance', 'main', 'abcdef0')", "23514 new row"),
    (Developer, "ops.queue_run('{project}', 'maintenance', 'main', 'abcdef0')", "22023 maintenance is"),
    (Developer, "ops.queue_run('{project}', 'test', E'ma\\nin', 'abcdef0')", "23514 new row"),
    (Developer, "ops.queue_run('{project}', 'test', 'main', 'abcdef')", "23514 new row"),
    (Developer, "ops.queue_run('{project}', 'test', 'main', 'main')", "23514 new row"),
    (
        Developer,
        "ops.queue_run('{project}', 'test', 'refs/heads/main', repeat('a', 64), null, 'key')",
        "fine",
    ),
    (Developer, "ops.claim_next_run('w')", "42501 permission denied"),
    (Stranger, "ops.claim_next_run('w')", "42501 permission denied"),
    (Worker, "ops.start_workflow_run('{unknown}', 'w', 1)", "P0002 unknown run"),
    (Worker, "ops.start_workflow_run('{unknown}', 'w')", "P0002 unknown run"),
    (Worker, "ops.start_workflow_run('{running}', 'w', {old})", "55000 lease lost"),
    (Worker, "ops.start_workflow_run('{running}', 'w')", "55000 lease required"),
    (
        Worker,
        "ops.start_workflow_run('{running}', 'another', {lease})",
        "55006 the run is held by another worker",
    ),
    (Worker, "ops.start_workflow_run('{simple}', 'another')", "55006 the run is held by another worker"),
    (Worker, "ops.start_workflow_run('{queued}', 'w')", "55000 wrong state: the run is queued"),
    (Worker, "ops.start_workflow_run('{ended}', 'w')", "55000 wrong state: the run is failed"),
    (Developer, "ops.start_workflow_run('{simple}', 'w')", "42501 permission denied"),
    (Worker, "ops.complete_workflow_run('{unknown}', 0)", "P0002 unknown run"),
    (Worker, "ops.complete_workflow_run('{running}', 0)", "55000 lease required"),
    (Worker, "ops.complete_workflow_run('{queued}', 0)", "55000 wrong state: the run is queued"),
    (Worker, "ops.complete_workflow_run('{simple}', 0)", "55000 wrong state: the run is claimed"),
    (Worker, "ops.complete_workflow_run('{ended}', 0)", "55000 wrong state: the run is failed"),
    (Worker, "ops.complete_workflow_run('{ended}', 2)", "fine"),
    (Developer, "ops.complete_workflow_run('{simple}', 0)", "42501 permission denied"),
    (Worker, "ops.finish_run('{unknown}', 1, 'failed', 1, null)", "P0002 unknown run"),
    (Worker, "ops.finish_run('{running}', {old}, 'failed', 1, null)", "55000 lease lost"),
    (Worker, "ops.finish_run('{running}', null, 'failed', 1, null)", "55000 lease required"),
    (
        Worker,
        "ops.finish_run('{running}', {lease}, 'queued', 1, null)",
        "22023 a run cannot finish as queued",
    ),
    (Worker, "ops.finish_run('{running}', {lease}, null, 1, null)", "22023 a run cannot finish as"),
    (Worker, "ops.finish_run('{queued}', 1, 'failed', 1, null)", "55000 lease lost"),
    (
        Worker,
        "ops.finish_run('{simple}', null, 'succeeded', 0, null)",
        "55000 wrong state: the run is claimed",
    ),
    (Developer, "ops.finish_run('{running}', {lease}, 'failed', 1, null)", "42501 permission denied"),
    (Worker, "ops.append_event('{unknown}', 'x', '{}', 1)", "P0002 unknown run"),
    (Worker, "ops.append_event('{running}', 'x', '{}', {old})", "55000 lease lost"),
    (Worker, "ops.append_event('{running}', 'x', '{}')", "55000 lease required"),
    (Worker, "ops.append_event('{queued}', 'x', '{}')", "55000 wrong state: the run is queued"),
    (Worker, "ops.append_event('{lost}', 'x', '{}')", "55000 lease lost"),
    (Worker, "ops.append_event('{running}', '', '{}', {lease})", "23514 new row"),
    (Developer, "ops.append_event('{running}', 'x', '{}', {lease})", "42501 permission denied"),
    (Worker, "ops.append_run_log('{unknown}', 'info', 'x', '{}', 1)", "P0002 unknown run"),
    (Worker, "ops.append_run_log('{running}', 'info', 'x', '{}', {old})", "55000 lease lost"),
    (Worker, "ops.append_run_log('{running}', 'info', 'x')", "55000 lease required"),
    (Worker, "ops.append_run_log('{lost}', 'info', 'x')", "55000 lease lost"),
    (Developer, "ops.append_run_log('{running}', 'info', 'x', '{}', {lease})", "42501 permission denied"),
    (Worker, "ops.append_run_log('{running}', 'loud', 'x', '{}', {lease})", "22023 a log level"),
    (Worker, "ops.append_run_log('{running}', 'info', null, '{}', {lease})", "22023 a message is missing"),
    (Worker, "ops.append_run_log('{full}', 'info', 'more than it may')", "54000 output limit"),
    (
        Worker,
        "ops.append_run_log('{full}', '{info}'::text[], '{more than it may}'::text[])",
        "54000 output limit",
    ),
    (Worker, "ops.append_run_log('{running}', '{info}'::text[], '{x}'::text[])", "55000 lease required"),
    (Worker, "ops.append_run_log('{lost}', '{info}'::text[], '{x}'::text[])", "55000 lease lost"),
    (
        Developer,
        "ops.append_run_log('{running}', '{info}'::text[], '{x}'::text[], '{}', {lease})",
        "42501 permission denied",
    ),
    (
        Worker,
        "ops.append_run_log('{unknown}', '{info}'::text[], '{x}'::text[], '{}', 1)",
        "P0002 unknown run",
    ),
    (
        Worker,
        "ops.append_run_log('{running}', '{info}'::text[], '{x}'::text[], '{}', {old})",
        "55000 lease lost",
    ),
    (
        Worker,
        "ops.append_run_log('{running}', '{info}'::text[], '{x,y}'::text[], '{}', {lease})",
        "22023 levels and messages",
    ),
    (
        Worker,
        "ops.append_run_log('{running}', '{loud}'::text[], '{x}'::text[], '{}', {lease})",
        "22023 a log level",
    ),
    (
        Worker,
        "ops.append_run_log('{running}', '{info}'::text[], '{null}'::text[], '{}', {lease})",
        "22023 a message is missing",
    ),
    (Worker, "ops.append_run_log('{running}', '{}'::text[], '{}'::text[], '{}', {lease})", "fine"),
    (Worker, "ops.append_run_logs('{running}', 'stdout', '{info}', '{x}', {lease})", "fine"),
    (Worker, "ops.append_run_logs('{running}', 'stdout', '{info}', '{x}', {old})", "55000 lease lost"),
    (
        Developer,
        "ops.append_run_logs('{running}', 'stdout', '{info}', '{x}', {lease})",
        "42501 permission denied",
    ),
    (Worker, "ops.set_output_limit('{running}', 1)", "fine"),
    (Developer, "ops.set_output_limit('{running}', 1)", "42501 permission denied"),
    (Worker, "ops.set_output_limit('{unknown}', 1, 1)", "P0002 unknown run"),
    (Worker, "ops.set_output_limit('{running}', 1, {old})", "55000 lease lost"),
    (Developer, "ops.set_output_limit('{running}', 1, {lease})", "42501 permission denied"),
    (Worker, "ops.add_run_artifact('{unknown}', 'a', 'x', 'x', 'x', 1, null, 1)", "P0002 unknown run"),
    (Worker, "ops.add_run_artifact('{running}', 'a', 'x', 'x', 'x', 1, null, {old})", "55000 lease lost"),
    (Worker, "ops.add_run_artifact('{running}', 'a', 'x', 'x', 'x', 1)", "55000 lease required"),
    (Worker, "ops.add_run_artifact('{lost}', 'a', 'x', 'x', 'x', 1)", "55000 lease lost"),
    (Worker, "ops.add_run_artifact('{running}', 'a', 'x', 'x', 'x', -1, null, {lease})", "23514 new row"),
    (
        Developer,
        "ops.add_run_artifact('{running}', 'a', 'x', 'x', 'x', 1, null, {lease})",
        "42501 permission denied",
    ),
    (Developer, "ops.retry_run('{running}', {lease}, 'x')", "42501 permission denied"),
    (Worker, "ops.retry_run('{unknown}', 1, 'x')", "P0002 unknown run"),
    (Worker, "ops.retry_run('{running}', {old}, 'x')", "55000 lease lost"),
    (Worker, "ops.retry_run('{ended}', null, 'x')", "55000 wrong state: the run is failed"),
    (Developer, "ops.hand_back_run('{running}', {lease}, 'x')", "42501 permission denied"),
    (Worker, "ops.hand_back_run('{unknown}', 1, 'x')", "P0002 unknown run"),
    (Worker, "ops.hand_back_run('{running}', {old}, 'x')", "55000 lease lost"),
    (Worker, "ops.hand_back_run('{ended}', null, 'x')", "55000 wrong state: the run is failed"),
    (Worker, "ops.hold_run('{running}', {old})", "55000 lease lost"),
    (Worker, "ops.hold_run('{ended}', null)", "55000 wrong state: the run is failed"),
    (Developer, "ops.heartbeat('w', '{}', '{}')", "42501 permission denied"),
    (Developer, "ops.requeue_lost_runs()", "42501 permission denied"),
    (Developer, "ops.worker_waits('w')", "42501 permission denied"),
    (Developer, "ops.register_worker('w', 'h', 'x', 1, '{test}')", "42501 permission denied"),
    (Worker, "ops.register_worker('w', 'h', 'x', 0, '{test}')", "23514 new row"),
    (Worker, "ops.drain_worker('nobody', true)", "P0002 unknown worker"),
    (Developer, "ops.drain_worker('w', true)", "42501 only workers and administrators"),
    (Worker, "ops.forget_worker('w')", "42501 permission denied"),
    (Developer, "ops.forget_worker('w')", "42501 only platform administrators"),
    (Superuser, "ops.forget_worker('nobody')", "P0002 unknown worker"),
    (
        Superuser,
        "ops.forget_worker(case when ops.register_worker('new', 'new', 'x', 1, '{test}') is not null then 'new' end)",
        "55000 the worker was heard of",
    ),
    (Worker, "ops.set_project_labels('{project}', '{}')", "42501 permission denied"),
    (Stranger, "ops.set_project_labels('{project}', '{}')", "P0002 unknown project"),
    (Developer, "ops.set_project_labels('{project}', '{}')", "42501 your role"),
    (Superuser, "ops.set_project_labels('{unknown}', '{}')", "P0002 unknown project"),
    (Superuser, "ops.set_project_labels('{project}', '{\"a b\"}')", "22023 these are no labels"),
    (Superuser, "ops.set_project_labels('{project}', '{null}')", "22023 these are no labels"),
    (Superuser, "ops.set_project_labels('{project}', '{{a,b}}')", "22023 these are no labels"),
    (Superuser, "ops.set_project_labels('{project}', '[5:5]={a}')", "22023 these are no labels"),
    (Superuser, "ops.set_project_labels('{project}', null)", "22023 these are no labels"),
    (
        Superuser,
        "ops.set_project_labels('{project}', array_fill('a'::text, '{17}'))",
        "22023 these are no labels",
    ),
    (Superuser, "ops.set_project_labels('{project}', '{}')", "fine"),
    (Worker, "ops.set_host_labels('{unknown}', '{}')", "42501 permission denied"),
    (Developer, "ops.set_host_labels('{unknown}', '{}')", "42501 only platform administrators"),
    (Superuser, "ops.set_host_labels('{unknown}', '{\"a,b\"}')", "22023 these are no labels"),
    (Superuser, "ops.set_host_labels('{unknown}', '{}')", "P0002 unknown host"),
    (Worker, "ops.set_host_limits('{unknown}', 1, 1)", "42501 permission denied"),
    (Developer, "ops.set_host_limits('{unknown}', 1, 1)", "42501 only platform administrators"),
    (Superuser, "ops.set_host_limits('{unknown}', -1, null)", "22023 less than nothing"),
    (Superuser, "ops.set_host_limits('{unknown}', 1, null)", "P0002 unknown host"),
    (Developer, "ops.list_queued_runs()", "42501 only platform administrators"),
    (Worker, "ops.list_queued_runs()", "42501 permission denied"),
    (Superuser, "(select count(*) from ops.list_queued_runs())", "fine"),
    (Stranger, "ops.cancel_run('{queued}')", "P0002 unknown run"),
    (Developer, "ops.cancel_run('{unknown}')", "P0002 unknown run"),
    (Viewer, "ops.cancel_run('{queued}')", "42501 your role"),
    (Developer, "ops.cancel_run('{ended}')", "55000 wrong state: the run is failed"),
    (Stranger, "ops.rerun('{ended}')", "P0002 unknown run"),
    (Viewer, "ops.rerun('{ended}')", "42501 your role"),
    (Developer, "ops.rerun('{queued}')", "55000 wrong state: the run is queued"),
    (Developer, "ops.rerun('{ended}')", "fine"),
    (Stranger, "ops.set_run_priority('{queued}', 1)", "P0002 unknown run"),
    (Developer, "ops.set_run_priority('{queued}', 1)", "42501 only platform administrators"),
    (Superuser, "ops.set_run_priority('{ended}', 1)", "55000 wrong state: the run is failed"),
    (Stranger, "ops.create_backup('{environment}', 'manual')", "P0002 unknown environment"),
    (Developer, "ops.create_backup('{environment}', 'manual')", "42501 your role"),
    (Superuser, "ops.create_backup('{unknown}', 'manual')", "P0002 unknown environment"),
    (Superuser, "ops.create_backup('{gone}', 'manual')", "55000 wrong state: the environment is destroyed"),
    (Superuser, "ops.create_backup('{environment}', 'hourly')", "23514 new row"),
    (Stranger, "ops.restore_backup('{backup}', '{environment}')", "P0002 unknown backup"),
    (Developer, "ops.restore_backup('{backup}', '{environment}')", "42501 your role"),
    (Superuser, "ops.restore_backup('{unknown}', '{environment}')", "P0002 unknown backup"),
    (Superuser, "ops.restore_backup('{backup}', '{unknown}')", "P0002 unknown environment"),
    (
        Superuser,
        "ops.restore_backup('{backup}', '{gone}')",
        "55000 wrong state: the environment is destroyed",
    ),
    (Developer, "ops.audit('{project}', 'x', 'run', '{queued}', '{}')", "fine"),
    (Stranger, "ops.audit('{project}', 'x', 'run', '{queued}', '{}')", "P0002 unknown project"),
    (Stranger, "ops.audit('{project}', 'x', 'run', '{queued}', '{}', 'refused')", "fine"),
    (Stranger, "ops.audit('{unknown}', 'x', 'run', 'no id', null, 'refused')", "fine"),
    (Stranger, "ops.audit(null, 'x', 'run', '{unknown}', null, 'hidden')", "fine"),
    (Developer, "ops.audit(null, 'x', 'run', '{queued}', null, 'perhaps')", "22023 an outcome is"),
    (Developer, "ops.audit(null, 'x', 'run', '{queued}', null, null)", "22023 an outcome is"),
    (Worker, "ops.audit(null, 'x', 'run', '{queued}', null)", "42501 permission denied"),
    (
        Superuser,
        "ops.restore_backup('{unmade}', '{environment}')",
        "55000 wrong state: the backup is not made yet",
    ),
];

/// The runs and the rest that the cases speak of, by name.
async fn props(callers: &mut Callers) -> Vec<(&'static str, String)> {
    let yard = &mut callers.yard;
    yard.superuser.execute("select ops.create_project('p1', 'X')").await.unwrap();
    let lost = yard.queue().await;
    yard.claim(lost, "w").await;
    let expire =
        format!("update ops.runs set lease_expires_at = now() - interval '1 second' where id = '{lost}'");
    yard.superuser.execute(expire.as_str()).await.unwrap();
    yard.worker.execute("select ops.requeue_lost_runs()").await.unwrap();
    // Not to be claimed again: what comes next would be given this one.
    let later = format!("update ops.runs set run_after = now() + interval '1 day' where id = '{lost}'");
    yard.superuser.execute(later.as_str()).await.unwrap();

    let running = yard.queue().await;
    let old = yard.claim(running, "w").await;
    let back = format!("select ops.retry_run('{running}', {old}, 'x', '0')");
    yard.worker.execute(back.as_str()).await.unwrap();
    let lease = yard.claim(running, "w").await;
    let start = format!("select ops.start_workflow_run('{running}', 'w', {lease})");
    yard.worker.execute(start.as_str()).await.unwrap();

    let ended = yard.queue().await;
    yard.claim(ended, "w").await;
    for sql in [
        format!("select ops.start_workflow_run('{ended}', 'w')"),
        format!("select ops.complete_workflow_run('{ended}', 2, 'broken')"),
    ] {
        yard.worker.execute(sql.as_str()).await.unwrap();
    }
    let full = yard.queue().await;
    yard.claim(full, "w").await;
    yard.worker.execute(format!("select ops.set_output_limit('{full}', 10, null)").as_str()).await.unwrap();
    let simple = yard.queue().await;
    yard.claim(simple, "w").await;
    let queued = yard.queue().await;
    let (environment, gone) = (Uuid::now_v7(), Uuid::now_v7());
    for (id, state, name) in [(environment, "running", "one"), (gone, "destroyed", "two")] {
        let sql = format!(
            "insert into ops.environments (id, project_id, stage, state, git_ref, commit_sha, database_name, hostname)
             values ('{id}', '{}', 'development', '{state}', 'main', 'abcdef0', '{name}', '{name}')",
            yard.project
        );
        yard.superuser.execute(sql.as_str()).await.unwrap();
    }
    let (backup, unmade) = (Uuid::now_v7(), Uuid::now_v7());
    for (id, stored) in [(backup, "now()"), (unmade, "null")] {
        let sql = format!(
            "insert into ops.backups (id, project_id, kind, stage, database_name, commit_sha, stored_at)
             values ('{id}', '{}', 'daily', 'production', 'x', 'x', {stored})",
            yard.project
        );
        yard.superuser.execute(sql.as_str()).await.unwrap();
    }
    vec![
        ("{project}", yard.project.to_string()),
        ("{unknown}", Uuid::now_v7().to_string()),
        ("{full}", full.to_string()),
        ("{lost}", lost.to_string()),
        ("{running}", running.to_string()),
        ("{ended}", ended.to_string()),
        ("{simple}", simple.to_string()),
        ("{queued}", queued.to_string()),
        ("{lease}", lease.to_string()),
        ("{old}", old.to_string()),
        ("{environment}", environment.to_string()),
        ("{gone}", gone.to_string()),
        ("{backup}", backup.to_string()),
        ("{unmade}", unmade.to_string()),
    ]
}

#[tokio::test]
async fn every_function_of_the_contract_says_what_is_wrong() {
    let mut callers = Callers::new().await;
    let props = props(&mut callers).await;
    let mut wrong = Vec::new();
    for (who, call, expected) in CASES {
        let call = props.iter().fold((*call).to_owned(), |call, (name, value)| call.replace(name, value));
        let said = callers.say(*who, &format!("select {call}")).await;
        if !said.starts_with(expected) {
            wrong.push(format!("{who:?}: {call}\n    says {said}\n    not  {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What each function promises in its comment is tried above: a code that no case expects is a promise untested.
#[tokio::test]
async fn every_function_that_a_role_may_call_says_its_errors_and_the_contract_s_are_all_tried() {
    let mut yard = Yard::new().await;
    let contract = [
        "audit",
        "create_project",
        "queue_run",
        "claim_next_run",
        "start_workflow_run",
        "complete_workflow_run",
        "finish_run",
        "append_event",
        "append_run_log",
        "set_output_limit",
        "add_run_artifact",
        "list_queued_runs",
        "create_backup",
        "restore_backup",
        "cancel_run",
        "rerun",
        "set_run_priority",
        "retry_run",
        "hand_back_run",
        "drain_worker",
        "forget_worker",
        "set_project_labels",
        "set_host_labels",
        "set_host_limits",
    ];
    for name in contract {
        let tried: BTreeSet<&str> = CASES
            .iter()
            .filter(|(_, call, _)| call.contains(&format!("ops.{name}(")))
            .filter_map(|(.., expected)| expected.split(' ').next())
            .collect();
        let sql = format!(
            "select string_agg(coalesce(obj_description(oid, 'pg_proc'), 'no comment on ' || oid::regprocedure), ' ')
             from pg_proc where pronamespace = 'ops'::regnamespace and proname = '{name}'"
        );
        let comment = ask(&mut yard.superuser, &sql).await.unwrap().unwrap_or_default();
        assert!(!comment.contains("no comment on"), "{comment}");
        let words = comment.split(|c: char| !c.is_ascii_alphanumeric());
        let promised: BTreeSet<&str> =
            words.filter(|word| word.len() == 5 && word.chars().any(|c| c.is_ascii_digit())).collect();
        assert!(promised.contains("42501"), "{name}: {comment}");
        let untried: Vec<_> = promised.difference(&tried).collect();
        assert!(untried.is_empty(), "{name} promises {untried:?}, which no case tries");
    }
}
