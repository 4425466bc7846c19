//! What has no owner.

use super::{SOON, Shell, is};
use serde_json::{Value, json};
use sqlx::postgres::PgListener;
use std::process::ExitCode;
use tokio::time::timeout;

#[tokio::test]
async fn what_is_in_quarantine_is_listed_put_back_and_deleted() {
    let shell = Shell::new().await;
    let id = shell.f.quarantined;
    for line in ["ops gc list", "ops gc list --ended"] {
        let list = shell.says(line).await;
        let row: Vec<_> = list.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..5], [&id.to_string(), "host-one", "database", "shop", "yes"], "{list}");
    }
    let asked = |what: &str| format!("select {what}_requested_at is not null from ops.quarantine");
    shell.refuses(&format!("ops gc delete {id} --name other"), "repeat its name").await;
    assert_eq!(shell.truth(&asked("delete")).await, "false");
    assert_eq!(shell.says(&format!("ops gc restore {id}")).await, "Its host puts it back.\n");
    assert_eq!(shell.truth(&asked("restore")).await, "true");
    assert_eq!(shell.says(&format!("ops gc delete {id} --name shop")).await, "Its host deletes it.\n");
    assert_eq!(shell.truth(&asked("delete")).await, "true");
    shell.set("update ops.quarantine set deleted_at = now()").await;
    assert!(!shell.says("ops gc list").await.contains("shop"));
    assert!(shell.says("ops gc list --ended").await.contains("deleted "));
    shell.refuses("ops gc", "--dry-run shows").await;
}

/// Runs it while a worker answers whatever is asked, as its reconcilers do.
async fn answered(shell: &Shell, line: &str, reports: Value) -> ExitCode {
    let mut asked = PgListener::connect_with(&shell.f.db.worker).await.unwrap();
    asked.listen("ops_reconcile").await.unwrap();
    let host = async {
        asked.recv().await.unwrap();
        let answered = sqlx::query_scalar!(
            r#"select count(ops.answer_dry_run(id, $1)) as "count!" from ops.reconciler_requests
               where answered_at is null"#,
            reports
        );
        assert!(answered.fetch_one(&mut shell.f.superuser().await).await.unwrap() > 0);
    };
    let (code, ()) = timeout(SOON, async { tokio::join!(shell.run(line), host) }).await.unwrap();
    code.unwrap()
}

fn report(name: &str, error: Option<&str>, findings: Value) -> Value {
    json!({
        "name": name, "started_at": "2026-01-01T00:00:00Z", "looked_at": 1, "acted": 0, "would": 0,
        "mode": "report", "reason": null, "error": error, "findings": findings,
    })
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_removed() {
    let shell = Shell::new().await;
    let found = json!([{ "object": "env_old", "what": "quarantine", "why": "no owner", "done": false }]);
    let reports = json!([report("containers", None, json!([])), report("databases", None, found)]);
    let code = answered(&shell, "ops gc --dry-run", reports).await;
    assert!(is(&code, 0), "{code:?}");
    let said = shell.out.text();
    let row: Vec<_> = said.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["host-one", "databases", "quarantine", "env_old", "no", "owner"], "{said}");
    assert_eq!((said.lines().count(), shell.notes.text()), (2, String::new()));

    let nothing = json!([report("containers", None, json!([]))]);
    let code = answered(&shell, "ops gc --dry-run --host host-one", nothing).await;
    assert!(is(&code, 0), "{code:?}");
    assert_eq!(shell.out.text(), "Nothing would be removed.\n");
    shell.refuses("ops gc --dry-run --host nowhere", "no host of that name").await;
}

#[tokio::test]
async fn a_dry_run_ends_with_1_when_a_host_is_silent() {
    let shell = Shell::new().await;
    let said = shell.ends("ops gc --dry-run --timeout 0", 1).await;
    assert_eq!(said, "");
    assert_eq!(shell.notes.text(), "host-one has not answered: its worker may not run.\n");
}

/// That nothing was found by who could not look means nothing.
#[tokio::test]
async fn a_dry_run_ends_with_1_when_a_reconciler_could_not_look() {
    let shell = Shell::new().await;
    let reports =
        json!([report("containers", Some("docker is away"), json!([])), report("volumes", None, json!([]))]);
    let code = answered(&shell, "ops gc --dry-run", reports.clone()).await;
    assert!(is(&code, 1), "{code:?}");
    assert!(shell.out.text().contains("docker is away"), "{}", shell.out.text());
    let why = "On host-one these could not look, and what they would remove is not known: containers.\n";
    assert_eq!(shell.notes.text(), why);
    let code = answered(&shell, "ops gc --dry-run --json", reports).await;
    assert!(is(&code, 1), "{code:?}");
    let said: Value = serde_json::from_str(&shell.out.text()).unwrap();
    assert_eq!(said[0]["reports"][0]["error"], "docker is away");
    assert_eq!(shell.notes.text(), why);
}

#[tokio::test]
async fn a_dry_run_ends_with_1_when_nobody_was_asked() {
    let shell = Shell::new().await;
    shell.set("update ops.hosts set revoked_at = now()").await;
    let said = shell.ends("ops gc --dry-run", 1).await;
    assert_eq!(said, "");
    assert!(shell.notes.text().starts_with("No host was asked"), "{}", shell.notes.text());
    let said = shell.ends("ops gc --dry-run --json", 1).await;
    assert_eq!(said.trim(), "[]");
    assert!(shell.notes.text().starts_with("No host was asked"), "{}", shell.notes.text());
}
