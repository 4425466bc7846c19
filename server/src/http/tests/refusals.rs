//! The audit log says who was refused what, and from where: through each door, once, and nothing else.

use super::{
    Fixture, Who,
    fixture::{Answer, OURS, json, send},
};
use crate::http;
use axum::http::{Method, Request, header};
use odooops::id::RunId;
use serde_json::{Value, json};

/// As the proxy tells: what the client said stands before what is true.
const FORWARDED: &str = "6.6.6.6, 192.0.2.7";

/// By a token, through the proxy.
async fn ask(f: &Fixture, who: Who, method: Method, path: &str, body: Option<Value>) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("x-forwarded-for", FORWARDED);
    if let Some(token) = f.tokens.get(&who) {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.header(header::ORIGIN, OURS);
    send(&http::console_behind_proxy(&f.web), json(request, body)).await
}

/// Everything in the log, oldest first: outcome, action, object, address and detail.
async fn log(f: &Fixture) -> Vec<(Who, Value)> {
    let rows = sqlx::query!(
        r#"select user_id as "user!", jsonb_build_object('outcome', outcome, 'action', action, 'type', object_type,
             'object', object_id, 'project', project_id, 'address', address, 'detail', detail) as "row!"
         from ops.audit_log order by id"#
    )
    .fetch_all(&mut f.superuser().await)
    .await
    .unwrap();
    let who = |id| f.users.iter().find(|(_, user)| user.0 == id).map(|(who, _)| *who).unwrap();
    rows.into_iter().map(|row| (who(row.user), row.row)).collect()
}

/// Refusals are written after the answer.
async fn log_of(f: &Fixture, count: usize) -> Vec<(Who, Value)> {
    f.web.refusals.written().await;
    let rows = log(f).await;
    assert_eq!(rows.len(), count, "{rows:?}");
    rows
}

#[tokio::test]
async fn who_is_refused_and_who_is_let_are_written_down_with_their_address() {
    let f = Fixture::new().await;
    let path = format!("/api/v1/runs/{}/cancel", f.run);
    // Strangers to the installation leave nothing: it is not known who they are.
    let nobody = ask(&f, Who::Nobody, Method::POST, &path, None).await;
    assert_eq!(nobody.status, 401);
    for _ in 0..2 {
        let refused = ask(&f, Who::Viewer, Method::POST, &path, None).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (403, "access.role".to_owned()));
    }
    let rows = log_of(&f, 1).await;
    let expected = json!({
        "outcome": "refused", "action": "run.cancel", "type": "run", "object": f.run, "project": f.project,
        "address": "192.0.2.7",
        "detail": { "code": "access.role", "request": "POST /api/v1/runs/{run}/cancel" },
    });
    assert_eq!(rows, [(Who::Viewer, expected)]);

    let done = ask(&f, Who::Developer, Method::POST, &path, None).await;
    assert_eq!(done.status, 202, "{}", done.text);
    let (who, row) = log_of(&f, 2).await.pop().unwrap();
    assert_eq!(
        (who, &row["outcome"], &row["action"]),
        (Who::Developer, &json!("allowed"), &json!("run.cancel"))
    );
    assert_eq!(row["address"], "192.0.2.7");
}

#[tokio::test]
async fn what_is_hidden_from_strangers_is_written_down_and_typing_errors_are_not() {
    let f = Fixture::new().await;
    let (there, nowhere) = (format!("/api/v1/runs/{}", f.run), format!("/api/v1/runs/{}", RunId::new()));
    for (who, path) in [(Who::Stranger, &nowhere), (Who::Viewer, &nowhere), (Who::Stranger, &there)] {
        let answer = ask(&f, who, Method::GET, path, None).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "run".to_owned()));
    }
    let (who, row) = log_of(&f, 1).await.pop().unwrap();
    assert_eq!(
        (who, &row["outcome"], &row["action"]),
        (Who::Stranger, &json!("refused"), &json!("run.view"))
    );
    assert_eq!((&row["object"], &row["project"]), (&json!(f.run), &json!(f.project)));
}

/// Browsers call the server's functions, with script and without.
#[tokio::test]
async fn forms_with_and_without_script_are_refused_in_the_log() {
    let f = Fixture::new().await;
    let form = || Some(format!("id={}", f.run));
    let refused = f.browse(Who::Viewer, Method::POST, "/api/console/run/cancel", form()).await;
    assert_eq!(refused.status, 403);
    let (who, row) = log_of(&f, 1).await.pop().unwrap();
    assert_eq!((who, &row["action"], &row["object"]), (Who::Viewer, &json!("run.cancel"), &json!(f.run)));
    assert_eq!(row["detail"]["request"], "POST /api/console/run/cancel");
    // Nobody told where they are: no proxy stands before this router.
    assert_eq!(row["address"], Value::Null);

    let request = Request::post("/api/console/run/retry")
        .header(header::HOST, "localhost:3000")
        .header(header::ORIGIN, OURS)
        .header(header::ACCEPT, "text/html")
        .header(header::REFERER, format!("{OURS}/projects/demo"))
        .header(header::COOKIE, f.cookie(Who::Viewer))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form().unwrap_or_default().into())
        .unwrap();
    let sent_back = send(&f.console, request).await;
    assert_eq!(sent_back.status, 302, "{}", sent_back.text);
    let (who, row) = log_of(&f, 2).await.pop().unwrap();
    assert_eq!((who, &row["action"], &row["object"]), (Who::Viewer, &json!("run.retry"), &json!(f.run)));
}

/// Pages leave out what somebody may not do: that is not a refusal, nor is a page that is shown.
#[tokio::test]
async fn pages_that_offer_less_leave_nothing_in_the_log() {
    let f = Fixture::new().await;
    for path in [
        "/".to_owned(),
        "/projects/demo".to_owned(),
        "/projects/demo/schedules".to_owned(),
        format!("/projects/demo/builds/{}", f.run),
    ] {
        let page = f.browse(Who::Viewer, Method::GET, &path, None).await;
        assert_eq!(page.status, 200, "{path}");
    }
    let log = format!("/api/console/log?id={}", f.run);
    for path in ["/api/console/schedules?project=demo", &log] {
        let asked = f.browse(Who::Viewer, Method::GET, path, None).await;
        assert_eq!(asked.status, 200, "{}", asked.text);
    }
    log_of(&f, 0).await;
    // Lines are for who develops; the others' pages do without.
    let lines = async |who| f.browse(who, Method::GET, &log, None).await.text;
    assert_eq!(lines(Who::Viewer).await, "null");
    assert_eq!(lines(Who::Developer).await, "[]");
}

/// What a page does not show at all is asked for while it is drawn, in tasks of its own.
#[tokio::test]
async fn pages_that_are_refused_are_in_the_log() {
    let f = Fixture::new().await;
    let build = format!("/projects/demo/builds/{}", f.run);
    let cases = [
        (Who::Viewer, "/admin", 403, "platform.administer", Value::Null),
        (Who::Stranger, &build, 404, "run.view", json!(f.run)),
        (Who::Stranger, "/projects/demo", 404, "project.view", json!(f.project)),
    ];
    for (n, (who, path, status, action, object)) in cases.into_iter().enumerate() {
        let page = f.browse(who, Method::GET, path, None).await;
        assert_eq!(page.status, status, "{path}");
        let (written, row) = log_of(&f, n + 1).await.pop().unwrap();
        assert_eq!((written, &row["action"], &row["object"]), (who, &json!(action), &object), "{path}");
    }
}

/// Projects are named by slug before anybody knows whether they may be seen.
#[tokio::test]
async fn a_project_that_a_stranger_names_is_in_the_log_when_it_is_there() {
    let f = Fixture::new().await;
    let by_id = format!("/api/v1/projects/{}", f.project);
    let cases = [
        (Method::GET, "/api/v1/projects/demo"),
        (Method::GET, &*by_id),
        (Method::GET, "/git/demo.git/info/refs?service=git-upload-pack"),
        (Method::GET, "/api/v1/projects/nowhere"),
    ];
    for (method, path) in cases {
        let answer = ask(&f, Who::Stranger, method, path, None).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    // The same, whichever way it is named.
    for (who, row) in log_of(&f, 2).await {
        let said = (who, &row["action"], &row["object"], &row["project"]);
        assert_eq!(said, (Who::Stranger, &json!("project.view"), &json!(f.project), &json!(f.project)));
    }
}

/// Who merges names two branches, and either may be somebody else's.
#[tokio::test]
async fn a_merge_from_a_branch_that_is_hidden_is_in_the_log() {
    let f = Fixture::new().await;
    let mut superuser = f.superuser().await;
    let foreign = sqlx::query_scalar!(
        "with other as (insert into ops.projects (slug, name) values ('foreign', 'Foreign') returning id)
         insert into ops.branches (project_id, name, stage) select id, 'x', 'development' from other returning id"
    );
    let foreign = foreign.fetch_one(&mut superuser).await.unwrap();
    let path = format!("/api/console/branch/merge-preview?from={foreign}&into={}", f.feature);
    let refused = f.browse(Who::Developer, Method::GET, &path, None).await;
    assert_eq!(refused.status, 404, "{}", refused.text);
    let (who, row) = log_of(&f, 1).await.pop().unwrap();
    assert_eq!(
        (who, &row["action"], &row["object"]),
        (Who::Developer, &json!("branch.merge"), &json!(foreign))
    );
}

#[tokio::test]
async fn a_fetch_that_is_refused_is_in_the_log() {
    let f = Fixture::new().await;
    let path = "/git/demo.git/info/refs?service=git-upload-pack";
    let refused = ask(&f, Who::Viewer, Method::GET, path, None).await;
    assert_eq!(refused.status, 403);
    let (who, row) = log_of(&f, 1).await.pop().unwrap();
    assert_eq!(
        (who, &row["action"], &row["object"]),
        (Who::Viewer, &json!("project.fetch"), &json!(f.project))
    );
    assert_eq!(row["address"], "192.0.2.7");
    assert_eq!(row["detail"]["request"], "GET /git/{repository}/info/refs");
}
