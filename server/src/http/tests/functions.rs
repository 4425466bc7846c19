//! Every server function of the console as everybody, by cookie, as browsers call them. One that is not in the table
//! fails the build.

use super::{Fixture, Who, fixture::SHA, matrix::Pass};
use axum::http::{Method, header};
use leptos::server_fn::axum::server_fn_paths;
use std::collections::BTreeSet;

struct Function {
    path: &'static str,
    method: Method,
    /// Arguments, in the query or in the form.
    arguments: String,
    pass: Pass,
}

/// Tells strangers that they are strangers, and what is gone for the second who passes. The tests for them are
/// `who_one_is_is_told_to_everybody` and `threat_02_schedules_are_deleted_by_administrators`; what only a worker knows
/// is asked for in `joining`.
const ELSEWHERE: [&str; 3] =
    ["/api/console/me", "/api/console/schedule/delete", "/api/console/environment/admin-password"];

fn functions(f: &Fixture) -> Vec<Function> {
    let get = |path, arguments: String, pass| Function { path, method: Method::GET, arguments, pass };
    let post = |path, arguments: String, pass| Function { path, method: Method::POST, arguments, pass };
    let (run, main, feature, schedule) = (f.run, f.main, f.feature, f.schedule);
    vec![
        get("/api/console/projects", String::new(), Pass::Known),
        post("/api/console/project/create", "name=Newer&slug=newer".to_owned(), Pass::Platform),
        get("/api/console/board", "project=demo".to_owned(), Pass::Member),
        get("/api/console/branch/merge-preview", format!("from={main}&into={feature}"), Pass::Develops),
        get("/api/console/run", format!("id={run}"), Pass::Member),
        get("/api/console/log", format!("id={run}"), Pass::Member),
        get("/api/console/runs", "project=demo".to_owned(), Pass::Member),
        post(
            "/api/console/branch/on-push",
            format!("project=demo&branch={feature}&build=false"),
            Pass::Develops,
        ),
        get("/api/console/platform/status", String::new(), Pass::Platform),
        get("/api/console/platform/queue", String::new(), Pass::Platform),
        get("/api/console/platform/hosts", String::new(), Pass::Platform),
        get("/api/console/platform/quarantine", String::new(), Pass::Platform),
        get("/api/console/platform/dry-run", format!("ids={}", f.dry_run), Pass::Platform),
        post("/api/console/platform/dry-run-request", String::new(), Pass::Platform),
        post("/api/console/platform/priority", format!("id={run}&priority=7"), Pass::Platform),
        post("/api/console/platform/invite", "name=&labels=ssd".to_owned(), Pass::Platform),
        post("/api/console/platform/revoke", "name=host-one".to_owned(), Pass::Platform),
        post("/api/console/platform/drain", "worker=worker-one&drain=false".to_owned(), Pass::Platform),
        post("/api/console/platform/forget", "worker=worker-one".to_owned(), Pass::Platform),
        post("/api/console/platform/confirm-host", format!("host={}", f.host), Pass::Platform),
        post("/api/console/platform/quarantine-restore", format!("id={}", f.quarantined), Pass::Platform),
        post(
            "/api/console/platform/quarantine-delete",
            format!("id={}&name=shop", f.quarantined),
            Pass::Platform,
        ),
        get("/api/console/run/attempts", format!("id={run}"), Pass::Member),
        get("/api/console/run/events", format!("id={run}"), Pass::Member),
        post("/api/console/run/retry", format!("id={run}"), Pass::Develops),
        get("/api/console/schedules", "project=demo".to_owned(), Pass::Member),
        get("/api/console/schedules", String::new(), Pass::Platform),
        get("/api/console/schedule/preview", "cron=@daily&time_zone=UTC".to_owned(), Pass::Known),
        post(
            "/api/console/schedule/create",
            "project=demo&branch=feature-x&name=again&cron=@daily&time_zone=UTC".to_owned(),
            Pass::Administers,
        ),
        post(
            "/api/console/schedule/create",
            "task=reconcile&name=again&cron=@daily&time_zone=UTC".to_owned(),
            Pass::Platform,
        ),
        post(
            "/api/console/schedule/change",
            format!("id={schedule}&name=nightly&cron=@daily&time_zone=UTC"),
            Pass::Administers,
        ),
        post("/api/console/schedule/enable", format!("id={schedule}&enabled=true"), Pass::Administers),
        post("/api/console/schedule/run", format!("id={schedule}"), Pass::Administers),
        post("/api/console/branch/rebuild", format!("project=demo&branch={feature}"), Pass::Develops),
        post("/api/console/run/rebuild", format!("id={run}"), Pass::Develops),
        post("/api/console/run/cancel", format!("id={run}"), Pass::Develops),
        post("/api/console/platform/cancel", format!("id={run}"), Pass::Develops),
        // It is in development: dropping it there moves nothing. Real moves are tested with the board's rules.
        post(
            "/api/console/branch/move",
            format!("project=demo&branch={feature}&onto=stage:development"),
            Pass::Member,
        ),
    ]
}

#[tokio::test]
async fn threat_02_every_server_function_as_everybody() {
    let f = Fixture::new().await;
    let functions = functions(&f);
    let tested: BTreeSet<_> = functions.iter().map(|function| function.path).chain(ELSEWHERE).collect();
    let served: BTreeSet<_> = server_fn_paths().map(|(path, _)| path).collect();
    assert_eq!(served, tested, "a server function without a case, or a case without one");
    for function in &functions {
        let (path, form) = match function.method {
            Method::GET => (format!("{}?{}", function.path, function.arguments), None),
            _ => (function.path.to_owned(), Some(function.arguments.clone())),
        };
        for who in [Who::Nobody].into_iter().chain(Who::KNOWN) {
            let answer = f.browse(who, function.method.clone(), &path, form.clone()).await;
            let at = format!("{who:?} {} {path}: {}", function.method, answer.text);
            if function.pass.lets(who) {
                // Deeds of one are in the way of the next; what git has not yet is not there.
                let code = answer.status.as_u16();
                let missing = code == 404 && path.contains("merge-preview");
                assert!(answer.status.is_success() || matches!(code, 409 | 422) || missing, "{at}");
            } else {
                assert_eq!(answer.status.as_u16(), function.pass.refusal(who), "{at}");
                assert!(!answer.text.contains(SHA), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn threat_05_server_functions_write_only_from_our_own_pages() {
    let f = Fixture::new().await;
    for (path, method) in server_fn_paths().filter(|(_, method)| *method != Method::GET) {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header(header::COOKIE, f.cookie(Who::Platform))
            .header(header::ORIGIN, "https://evil.example");
        let answer = super::fixture::send(&f.console, super::fixture::json(request, None)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (403, "request.foreign_origin"),
            "{path}"
        );
    }
    // What GET reaches changes nothing: every function that writes is a POST.
    for (path, method) in server_fn_paths() {
        let reads = [
            "me",
            "projects",
            "board",
            "merge-preview",
            "run",
            "runs",
            "log",
            "status",
            "queue",
            "hosts",
            "quarantine",
            "dry-run",
            "attempts",
            "events",
            "schedules",
            "preview",
        ];
        let last = path.rsplit('/').next().unwrap();
        assert!(method != Method::GET || reads.contains(&last), "{path} is reached by GET");
    }
}

#[tokio::test]
async fn threat_02_schedules_are_deleted_by_administrators() {
    let f = Fixture::new().await;
    let delete = async |who| {
        let form = Some(format!("id={}", f.schedule));
        f.browse(who, Method::POST, "/api/console/schedule/delete", form).await.status.as_u16()
    };
    assert_eq!(delete(Who::Nobody).await, 401);
    assert_eq!(delete(Who::Stranger).await, 404);
    for who in [Who::Viewer, Who::Developer, Who::Tester] {
        assert_eq!(delete(who).await, 403, "{who:?}");
    }
    assert_eq!(delete(Who::Admin).await, 200);
    assert_eq!(delete(Who::Owner).await, 404);
}

#[tokio::test]
async fn who_one_is_is_told_to_everybody() {
    let f = Fixture::new().await;
    let nobody = f.browse(Who::Nobody, Method::POST, "/api/console/me", Some(String::new())).await;
    assert_eq!((nobody.status.as_u16(), nobody.text.as_str()), (200, "null"));
    let viewer = f.browse(Who::Viewer, Method::POST, "/api/console/me", Some(String::new())).await;
    assert_eq!(viewer.json()["name"], "Viewer");
}

#[tokio::test]
async fn threat_02_pages_send_strangers_away_and_show_members_their_projects() {
    let f = Fixture::new().await;
    for path in ["/", "/projects/demo", "/projects/demo/builds", "/projects/nope", "/no/such/page", "/admin"]
    {
        let answer = f.browse(Who::Nobody, Method::GET, path, None).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers[header::LOCATION]),
            (303, &"/sign-in".parse().unwrap())
        );
        assert!(!answer.text.contains("demo"), "{path}");
    }
    let answer = f.browse(Who::Viewer, Method::GET, "/projects/demo", None).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("feature-x"), "{}", answer.text);
    let answer = f.browse(Who::Stranger, Method::GET, "/projects/demo", None).await;
    assert_eq!(answer.status, 404, "{}", answer.text);
    assert!(!answer.text.contains("feature-x"));
}

#[tokio::test]
async fn threat_15_scripts_of_a_page_carry_the_nonce_of_its_policy() {
    let f = Fixture::new().await;
    let page = f.browse(Who::Viewer, Method::GET, "/", None).await;
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    let scripts: Vec<_> = page.text.split("<script").skip(1).map(|s| s.split('>').next().unwrap()).collect();
    assert!(!scripts.is_empty());
    for script in scripts {
        assert!(script.contains(&format!("nonce=\"{nonce}\"")), "{script}");
    }
}

#[tokio::test]
async fn pages_have_the_status_of_what_they_show() {
    let f = Fixture::new().await;
    let run = f.run;
    let page = async |who, path: &str| f.browse(who, Method::GET, path, None).await;
    for path in ["/", "/projects/demo", "/projects/demo/builds", "/projects/demo/schedules"] {
        assert_eq!(page(Who::Developer, path).await.status, 200, "{path}");
    }
    for path in [
        "/no-such-page".to_owned(),
        "/projects/UPPER".to_owned(),
        "/projects/UPPER/builds".to_owned(),
        "/projects/UPPER/schedules".to_owned(),
        "/projects/other/schedules".to_owned(),
        "/projects/no-such-project".to_owned(),
        "/projects/other".to_owned(),
        "/projects/demo/builds/not-a-uuid".to_owned(),
        // There is such a build, and it is another project's.
        format!("/projects/other/builds/{run}"),
    ] {
        assert_eq!(page(Who::Developer, &path).await.status, 404, "{path}");
    }
    // Of the platform, for its administrators only.
    assert!(page(Who::Platform, "/").await.text.contains("/admin/queue"));
    assert!(!page(Who::Owner, "/").await.text.contains("/admin"));
    for path in ["/admin", "/admin/queue", "/admin/hosts", "/admin/schedules"] {
        assert_eq!(page(Who::Platform, path).await.status, 200, "{path}");
        let refused = page(Who::Owner, path).await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(
            !refused.text.contains("worker-one") && !refused.text.contains("host-one"),
            "{}",
            refused.text
        );
    }
    // What the role does not show is missing from the page, which is there all the same.
    let without_log = page(Who::Viewer, &format!("/projects/demo/builds/{run}")).await;
    assert_eq!(without_log.status, 200, "{}", without_log.text);
    assert!(without_log.text.contains("Your role does not show this log."), "{}", without_log.text);
}
