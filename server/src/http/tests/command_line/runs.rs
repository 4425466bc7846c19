//! Runs: what they are, waiting for them, doing them again, and the queue.

use super::{SOON, Shell, is};
use crate::http::tests::Who;
use axum::http::Method;
use odooops::id::RunId;
use tokio::time::timeout;

#[tokio::test]
async fn a_run_is_shown_with_its_log_its_events_and_its_attempts() {
    let shell = Shell::new().await;
    let run = shell.f.run;
    let lease = shell.f.start_run().await;
    shell.f.log(lease, &["first words".to_owned(), "second words".to_owned()]).await;

    let list = shell.says("ops run list --project demo").await;
    let row = list.lines().find(|line| line.starts_with(&run.to_string())).unwrap();
    assert!(row.contains("running") && row.contains("feature-x"), "{list}");
    assert_eq!(list.lines().count(), 3, "its head, this one, and the environment's: {list}");
    let one = shell.says("ops run list --project demo --limit 1").await;
    assert_eq!(one.lines().count(), 2, "{one}");
    let shown = shell.says(&format!("ops run show {run}")).await;
    assert!(shown.starts_with(&format!("build {run} of feature-x: running\n")), "{shown}");

    let log = shell.says(&format!("ops run logs {run}")).await;
    let lines: Vec<_> = log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines, ["odoo first words", "odoo second words"]);
    let rest = shell.says(&format!("ops run logs {run} --after 1")).await;
    assert!(rest.contains("second words") && !rest.contains("first words"), "{rest}");

    let events = shell.says(&format!("ops run events {run}")).await;
    let of = |name: &str| events.lines().filter(|line| line.contains(name)).count();
    assert_eq!((of(" claimed "), of(" started "), of(" succeeded ")), (1, 1, 0), "{events}");
    let attempts = shell.says(&format!("ops run attempts {run}")).await;
    let row: Vec<_> = attempts.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..2], ["1", "test"], "{attempts}");
    assert!(attempts.contains("under way"), "{attempts}");
}

/// It goes on while the run does, and ends with it.
#[tokio::test]
async fn a_log_is_followed_to_its_end() {
    let shell = Shell::new().await;
    let lease = shell.f.start_run().await;
    let line = format!("ops run logs {} --follow", shell.f.run);
    let work = async {
        for word in ["one", "two", "three"] {
            shell.f.log(lease, &[word.to_owned()]).await;
            shell.out.until(word).await;
        }
        shell.f.finish_run(lease, "succeeded").await;
    };
    let (code, ()) = timeout(SOON, async { tokio::join!(shell.run(&line), work) }).await.unwrap();
    assert!(is(&code.unwrap(), 0));
    assert_eq!(shell.out.text().lines().count(), 3, "{}", shell.out.text());
}

/// Each is ended while it is waited for.
#[tokio::test]
async fn waiting_tells_by_its_exit_code() {
    let shell = Shell::new().await;
    let mut run = shell.f.run;
    for (status, number) in
        [("succeeded", 0), ("warning", 0), ("failed", 1), ("timed_out", 1), ("canceled", 2)]
    {
        let lease = shell.f.start(run).await;
        let line = format!("ops env wait {run} --timeout 60s");
        let end = async {
            shell.notes.until("running").await;
            shell.f.finish(run, lease, status).await;
        };
        let (code, ()) = timeout(SOON, async { tokio::join!(shell.run(&line), end) }).await.unwrap();
        assert!(is(code.as_ref().unwrap(), number), "{status}: {code:?}");
        assert!(shell.notes.text().contains(status), "{}", shell.notes.text());
        let again = shell.json(&format!("ops run retry {run}")).await;
        run = again["run_id"].as_str().unwrap().parse::<RunId>().unwrap();
    }
    shell.refuses("ops env wait x", "invalid value").await;
}

#[tokio::test]
async fn waiting_gives_up_with_124() {
    let shell = Shell::new().await;
    let said = shell.ends(&format!("ops env wait {} --timeout 1s", shell.f.run), 124).await;
    assert_eq!(said, "");
    assert!(shell.notes.text().contains("has not ended"), "{}", shell.notes.text());
}

#[tokio::test]
async fn what_has_ended_is_done_again_as_a_run_of_its_own() {
    let shell = Shell::new().await;
    let run = shell.f.run;
    let lease = shell.f.start_run().await;
    shell.refuses(&format!("ops run retry {run}"), "has not ended").await;
    shell.f.finish_run(lease, "failed").await;
    let said = shell.says(&format!("ops run retry {run}")).await;
    let again = said.split_whitespace().nth(1).unwrap();
    assert_eq!(said, format!("Run {again} is queued.\n"));
    let same = format!(
        "select concat_ws(' ', a.status, a.params ->> 'rerun_of',
             a.commit_sha = b.commit_sha and a.git_ref = b.git_ref and a.branch_id = b.branch_id)
         from ops.runs a join ops.runs b on b.id = '{run}' where a.id = '{again}'"
    );
    assert_eq!(shell.truth(&same).await, format!("queued {run} t"));
}

#[tokio::test]
async fn a_run_is_canceled_and_its_branch_built_again() {
    let shell = Shell::new().await;
    let run = shell.f.run;
    let said = shell.says(&format!("ops run cancel {run}")).await;
    assert_eq!(said, format!("Run {run} is being canceled.\n"));
    let status = |run: &str| format!("select status from ops.runs where id = '{run}'");
    assert_eq!(shell.truth(&status(&run.to_string())).await, "canceled");
    let said = shell.says(&format!("ops run rebuild {run}")).await;
    let again = said.split_whitespace().nth(1).unwrap();
    assert_eq!(said, format!("Build {again} is queued.\n"));
    assert_eq!(shell.truth(&status(again)).await, "queued");
}

#[tokio::test]
async fn the_queue_is_listed_and_put_in_order() {
    let shell = Shell::new().await;
    let run = shell.f.run;
    let list = shell.says("ops queue list").await;
    let row = list.lines().find(|line| line.starts_with(&run.to_string())).unwrap();
    for part in ["demo", "feature-x", "build", "queued", "Next"] {
        assert!(row.contains(part), "{part}: {list}");
    }
    assert_eq!(shell.notes.text(), "0 under way, 1 waiting.\n");
    let said = shell.says(&format!("ops queue priority {run} -5")).await;
    assert_eq!(said, format!("Run {run} has priority -5.\n"));
    let priority = format!("select priority from ops.runs where id = '{run}'");
    assert_eq!(shell.truth(&priority).await, "-5");
    shell.refuses(&format!("ops queue priority {run} 101"), "-100 to 100").await;
    assert_eq!(shell.truth(&priority).await, "-5");
    shell.f.start_run().await;
    let list = shell.says("ops queue list").await;
    assert!(list.contains("running") && !list.contains("Next"), "{list}");
    assert_eq!(shell.notes.text(), "1 under way, 0 waiting.\n");
}

/// All three doors show the first 500 and say how many there are.
#[tokio::test]
async fn a_long_queue_is_counted_whole() {
    let shell = Shell::new().await;
    shell
        .set(
            "insert into ops.runs (project_id, kind, git_ref, commit_sha)
             select p.id, 'build', 'refs/heads/long', repeat('b', 40)
             from ops.projects p, generate_series(1, 511) where p.slug = 'demo'",
        )
        .await;
    shell.f.start_run().await;
    let list = shell.says("ops queue list").await;
    assert_eq!(list.lines().count(), 501);
    assert_eq!(shell.notes.text(), "The first 500 of 512: 1 under way, 511 waiting.\n");
    let queue = shell.json("ops queue list").await;
    assert_eq!((queue["under_way"].as_i64(), queue["waiting"].as_i64()), (Some(1), Some(511)));
    assert_eq!(queue["runs"].as_array().unwrap().len(), 500);
    assert_eq!(shell.notes.text(), "");
    let page = shell.f.browse(Who::Platform, Method::GET, "/admin/queue", None).await;
    // Without the marks between what changes and what does not.
    let text = page.text.replace("<!>", "");
    let shown = |name: &str| format!("<dt>{name}</dt><dd>");
    let after = |mark: &str| {
        let rest = text.split(mark).nth(1).unwrap_or_else(|| panic!("{mark} in {text}"));
        rest.chars().take(40).collect::<String>()
    };
    assert!(after(&shown("Under way")).starts_with("1<"), "{}", after(&shown("Under way")));
    assert!(after(&shown("Waiting")).starts_with("511<"), "{}", after(&shown("Waiting")));
    assert_eq!(text.matches("<tr data-run=").count(), 500);
    assert!(text.contains("The first 500 of 512 runs."));
}
