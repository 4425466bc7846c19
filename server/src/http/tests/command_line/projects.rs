//! Projects, branches, environments and tokens.

use super::{Shell, is};
use crate::http::tests::fixture::SHA;
use odooops::session::Fingerprint;

#[tokio::test]
async fn projects_are_made_and_shown() {
    let shell = Shell::new().await;
    let made = shell.says("ops project create fresh --name Fresh").await;
    assert!(made.contains("Fresh (fresh)"), "{made}");
    assert_eq!(shell.truth("select name from ops.projects where slug = 'fresh'").await, "Fresh");
    let shown = shell.says("ops project show fresh").await;
    assert_eq!(shown, made);
    let list = shell.says("ops project list").await;
    let lines: Vec<_> = list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(lines, ["SLUG", "demo", "fresh", "other"]);
    let list = shell.json("ops project list").await;
    let slugs: Vec<_> = list.as_array().unwrap().iter().map(|p| p["slug"].as_str().unwrap()).collect();
    assert_eq!(slugs, ["demo", "fresh", "other"]);
    shell.refuses("ops project show nope", "There is no such project").await;
    shell.refuses("ops project create ../x", "lower-case letters").await;
    assert_eq!(shell.truth("select count(*) from ops.projects").await, "3");
}

#[tokio::test]
async fn branches_are_listed_moved_and_told_whether_pushes_are_built() {
    let shell = Shell::new().await;
    let list = shell.says("ops branch list --project demo").await;
    let row = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(row("main").contains("production") && row("feature-x").contains("development"), "{list}");
    assert!(row("feature-x").contains("succeeded") && row("feature-x").contains("A commit"), "{list}");

    let moved = shell.says("ops branch move --project demo feature-x --stage staging").await;
    let run = moved.split_whitespace().rev().nth(2).unwrap();
    assert_eq!(moved, format!("feature-x is in staging now. Build {run} is queued.\n"));
    assert_eq!(shell.truth("select stage from ops.branches where name = 'feature-x'").await, "staging");
    let build = format!("select concat_ws(' ', kind, status, commit_sha) from ops.runs where id = '{run}'");
    assert_eq!(shell.truth(&build).await, format!("build queued {SHA}"));
    let again = shell.says("ops branch move --project demo feature-x --stage staging").await;
    assert_eq!(again, "feature-x is there already.\n");

    let on_push = "select on_push from ops.branches where name = 'feature-x'";
    let told = shell.says("ops branch on-push --project demo feature-x nothing").await;
    assert_eq!(
        (told.as_str(), shell.truth(on_push).await.as_str()),
        ("Pushes to feature-x are not built.\n", "nothing")
    );
    let told = shell.says("ops branch on-push --project demo feature-x build").await;
    assert_eq!(told, "Pushes to feature-x are built.\n");
    assert_ne!(shell.truth(on_push).await, "nothing");
    shell.refuses("ops branch move --project demo feature-x", "required").await;
}

#[tokio::test]
async fn environments_are_made_shown_and_removed() {
    let shell = Shell::new().await;
    let id = shell.f.environment;
    let run = shell.says("ops env create demo staging feature-x").await;
    let queued = format!(
        "select concat_ws(' ', kind, status, params ->> 'stage', commit_sha) from ops.runs where id = '{}'",
        run.trim()
    );
    assert_eq!(shell.truth(&queued).await, format!("build queued staging {SHA}"));

    let list = shell.says("ops env list -p demo").await;
    let row = list.lines().find(|line| line.starts_with(&id.to_string())).unwrap();
    assert!(row.contains("feature-x") && row.contains("running") && row.contains(&SHA[..8]), "{list}");
    let shown = shell.says(&format!("ops env show {id}")).await;
    assert!(shown.starts_with(&format!("environment {id}: running\n")), "{shown}");
    assert!(shown.contains(SHA) && shown.contains("demo-feature-x-123456.localhost"), "{shown}");

    let told = shell.says(&format!("ops env destroy {id}")).await;
    assert_eq!(told, format!("Environment {id} is being removed.\n"));
    let state = format!("select state from ops.environments where id = '{id}'");
    assert_eq!(shell.truth(&state).await, "destroying");

    // Only its worker knows it, and that is not there.
    shell.refuses(&format!("ops env password {id}"), "does not answer").await;
    shell.refuses("ops env create demo production main", "Production is built from its branch").await;
    shell.refuses("ops env create demo live main", "invalid value").await;
}

#[tokio::test]
async fn tokens_are_shown_once_listed_and_ended() {
    let shell = Shell::new().await;
    let token = shell.says("ops token create --name ci --expires 2099-01-01T00:00:00Z").await;
    let hash: String =
        Fingerprint::of(token.trim()).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let of_hash = |column: &str| {
        format!("select {column} from ops.api_tokens where hash = decode('{hash}', 'hex') and name = 'ci'")
    };
    assert_eq!(shell.truth(&of_hash("extract(year from expires_at at time zone 'utc')")).await, "2099");
    let id = shell.truth(&of_hash("id")).await;
    let list = shell.says("ops token list").await;
    assert!(list.contains(&id) && list.contains("2099-01-01") && !list.contains(token.trim()), "{list}");
    assert_eq!(shell.says(&format!("ops token revoke {id}")).await, format!("Token {id} is revoked.\n"));
    assert_eq!(shell.truth(&of_hash("revoked_at is not null")).await, "true");
    assert!(!shell.says("ops token list").await.contains(&id));
}

#[tokio::test]
async fn a_login_link_is_made_for_the_administrator() {
    let shell = Shell::new().await;
    let code = shell.run("ops login-link").await.unwrap();
    assert!(is(&code, 0) && shell.out.text().starts_with("http://localhost:3000/sign-in"));
    let made = "select count(*) from ops.login_links where used_at is null and expires_at > now()
                and user_id = ops.platform_administrator()";
    assert_eq!(shell.truth(made).await, "1");
}
