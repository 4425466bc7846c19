//! The command line as scripts use it: the program's own parser, the socket, and how it ends.

use super::{Fixture, streams::served};
use crate::cli;
use clap::Parser;
use odooops::config::Config;
use sqlx::Executor;
use std::process::ExitCode;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: cli::Command,
}

async fn run(config: &Config, line: &str) -> Result<ExitCode, String> {
    let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
    cli::run(line.command, config).await.map_err(|error| error.to_string())
}

/// `ExitCode` tells its number to nobody but the operating system, and shows it.
fn ends_with(code: &ExitCode, number: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(number))
}

#[tokio::test]
async fn waiting_tells_by_its_exit_code() {
    for (status, number) in
        [("succeeded", 0), ("warning", 0), ("failed", 1), ("timed_out", 1), ("canceled", 2)]
    {
        let f = Fixture::new().await;
        served(&f).await;
        let config = &f.web.config;
        let lease = f.start_run().await;
        let line = format!("ops env wait {} --timeout 60s", f.run);
        let (code, ()) = tokio::join!(run(config, &line), f.finish_run(lease, status));
        assert!(ends_with(&code.clone().unwrap(), number), "{status}: {code:?}");
    }
}

#[tokio::test]
async fn waiting_gives_up_with_124() {
    let f = Fixture::new().await;
    served(&f).await;
    let code = run(&f.web.config, &format!("ops env wait {} --timeout 1s", f.run)).await.unwrap();
    assert!(ends_with(&code, 124), "{code:?}");
}

#[tokio::test]
async fn commands_do_what_they_say() {
    let f = Fixture::new().await;
    served(&f).await;
    let config = &f.web.config;
    for line in [
        "ops project create fresh --name Fresh".to_owned(),
        "ops project list --json".to_owned(),
        "ops project show fresh".to_owned(),
        format!("ops queue priority {} -5", f.run),
        "ops branch list --project demo".to_owned(),
        "ops branch move --project demo feature-x --stage staging".to_owned(),
        "ops run list --project demo".to_owned(),
        format!("ops run show {}", f.run),
        format!("ops run logs {}", f.run),
        format!("ops run events {}", f.run),
        format!("ops run attempts {}", f.run),
        "ops queue list".to_owned(),
        "ops worker list".to_owned(),
        "ops worker drain worker-one".to_owned(),
        "ops worker drain worker-one --undo --json".to_owned(),
        "ops gc list --ended".to_owned(),
        format!("ops gc restore {}", f.quarantined),
        format!("ops gc delete {} --name shop", f.quarantined),
        "ops schedule create weekly --cron @weekly --time-zone Europe/Brussels -p demo -b feature-x"
            .to_owned(),
        "ops schedule create sweep --cron @hourly --task reconcile --json".to_owned(),
        "ops schedule list".to_owned(),
        "ops schedule list --project demo".to_owned(),
        format!("ops schedule change {} --cron @daily", f.schedule),
        format!("ops schedule disable {}", f.schedule),
        format!("ops schedule enable {}", f.schedule),
        format!("ops schedule history {}", f.schedule),
        "ops env create demo staging feature-x".to_owned(),
        "ops env list -p demo".to_owned(),
        format!("ops env show {}", f.environment),
        format!("ops env destroy {}", f.environment),
        "ops token create --name ci --expires 2099-01-01T00:00:00Z".to_owned(),
        "ops token list".to_owned(),
        "ops login-link".to_owned(),
    ] {
        let code = run(config, &line).await.unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(ends_with(&code, 0), "{line}");
    }
    let mut conn = f.superuser().await;
    let state = sqlx::query_scalar!("select state from ops.environments where id = $1", f.environment.0)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(state, "destroying");
    for (line, says) in [
        ("ops project show nope", "There is no such project"),
        ("ops project create ../x", "lower-case letters"),
        ("ops env create demo production main", "Production is built from its branch"),
        ("ops env create demo live main", "invalid value"),
        ("ops branch move --project demo feature-x", "required"),
        ("ops env wait x", "invalid value"),
        ("ops worker drain nobody", "There is no such worker"),
        ("ops worker forget nobody", "There is no such worker"),
        ("ops worker forget worker-one", "within the last thirty seconds"),
        (&*format!("ops queue priority {} 101", f.run), "-100 to 100"),
        (&*format!("ops gc delete {} --name other", f.quarantined), "repeat its name"),
        (&*format!("ops env password {}", f.environment), "does not answer"),
        ("ops gc", "--dry-run shows"),
        ("ops schedule create x --cron @never -p demo -b feature-x", "does not read as five fields"),
        ("ops schedule create x --cron @daily -p demo", "--branch"),
        ("ops schedule create x --cron @daily -p demo -b main", "production branch is not rebuilt"),
        ("ops gc --dry-run --host nowhere", "no host of that name"),
    ] {
        let error = run(config, line).await.unwrap_err();
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[tokio::test]
async fn status_ends_with_1_while_something_is_to_be_seen_to() {
    let f = Fixture::new().await;
    served(&f).await;
    let mut conn = f.superuser().await;
    let code = run(&f.web.config, "ops status").await.unwrap();
    assert!(ends_with(&code, 0), "{code:?}");
    let mut set = async |sql: &'static str| conn.execute(sql).await.map(drop).unwrap();
    set("update ops.workers set last_heartbeat_at = now() - interval '1 hour'").await;
    for line in ["ops status", "ops status --json"] {
        let code = run(&f.web.config, line).await.unwrap();
        assert!(ends_with(&code, 1), "{line}: {code:?}");
    }
    // Another took its place: forgotten, it is nothing to see to any more.
    set("update ops.hosts set created_at = created_at - interval '1 day';
         delete from ops.quarantine; update ops.environments set host_id = null;
         insert into ops.workers (id, version, capacity) values ('worker-two', '1', 2)")
    .await;
    let code = run(&f.web.config, "ops worker forget worker-one").await.unwrap();
    assert!(ends_with(&code, 0), "{code:?}");
    let code = run(&f.web.config, "ops status").await.unwrap();
    assert!(ends_with(&code, 0), "{code:?}");
}

#[tokio::test]
async fn a_dry_run_waits_for_the_hosts_and_ends_with_1_when_one_is_silent() {
    let f = Fixture::new().await;
    served(&f).await;
    let code = run(&f.web.config, "ops gc --dry-run --timeout 1").await.unwrap();
    assert!(ends_with(&code, 1), "{code:?}");
    // A worker that answers whatever is asked, as its reconcilers do.
    let host = async {
        let mut conn = f.superuser().await;
        loop {
            let answered = sqlx::query_scalar!(
                r#"select count(ops.answer_dry_run(id, '[]')) as "count!" from ops.reconciler_requests
                   where answered_at is null and requested_at > now() - interval '1 second'"#
            );
            if answered.fetch_one(&mut conn).await.unwrap() > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let (code, ()) = tokio::join!(run(&f.web.config, "ops gc --dry-run --host host-one"), host);
    assert!(ends_with(&code.clone().unwrap(), 0), "{code:?}");
}

#[tokio::test]
async fn what_has_ended_is_done_again_as_a_run_of_its_own() {
    let f = Fixture::new().await;
    served(&f).await;
    let lease = f.start_run().await;
    let early = run(&f.web.config, &format!("ops run retry {}", f.run)).await.unwrap_err();
    assert!(early.contains("has not ended"), "{early}");
    f.finish_run(lease, "failed").await;
    let code = run(&f.web.config, &format!("ops run retry {}", f.run)).await.unwrap();
    assert!(ends_with(&code, 0), "{code:?}");
    let mut conn = f.superuser().await;
    let again = sqlx::query!(
        "select a.status, a.commit_sha = b.commit_sha and a.git_ref = b.git_ref and a.branch_id = b.branch_id as same
         from ops.runs a join ops.runs b on b.id = $1 where a.params ->> 'rerun_of' = $2",
        f.run.0,
        f.run.to_string()
    );
    let again = again.fetch_one(&mut conn).await.unwrap();
    assert_eq!((again.status.as_str(), again.same), ("queued", Some(true)));
}

#[tokio::test]
async fn a_schedule_is_run_now_and_tells_why_it_queued_nothing() {
    let f = Fixture::new().await;
    served(&f).await;
    let (config, line) = (&f.web.config, format!("ops schedule run {}", f.schedule));
    // The fixture's own build of the branch still waits.
    let code = run(config, &line).await.unwrap();
    assert!(ends_with(&code, 1), "{code:?}");
    let lease = f.start_run().await;
    f.finish_run(lease, "succeeded").await;
    let code = run(config, &line).await.unwrap();
    assert!(ends_with(&code, 0), "{code:?}");
    let mut conn = f.superuser().await;
    let queued = sqlx::query_scalar!(
        "select r.status from ops.schedules s join ops.runs r on r.id = s.last_run_id where s.id = $1",
        f.schedule.0
    );
    assert_eq!(queued.fetch_one(&mut conn).await.unwrap(), "queued");
    let code = run(config, &format!("ops schedule delete {}", f.schedule)).await.unwrap();
    assert!(ends_with(&code, 0), "{code:?}");
}
