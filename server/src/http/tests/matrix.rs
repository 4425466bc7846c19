//! Every entry of the API as everybody. An entry that is not in the table fails the build.

use super::{Fixture, Who, fixture::SHA};
use crate::http::api;
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Who passes. All others are refused: nobody with 401, people without a right with 403, strangers to the project as if
/// it were not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Whoever has an account.
    Known,
    /// Members of the project, whatever their role.
    Member,
    /// Who may work on a development branch.
    Develops,
    /// Who administers the project.
    Administers,
    /// Platform administrators.
    Platform,
}

impl Pass {
    pub fn lets(self, who: Who) -> bool {
        match self {
            Self::Known => who != Who::Nobody,
            Self::Member => !matches!(who, Who::Nobody | Who::Stranger),
            Self::Develops => !matches!(who, Who::Nobody | Who::Stranger | Who::Viewer),
            Self::Administers => matches!(who, Who::Admin | Who::Owner | Who::Platform),
            Self::Platform => who == Who::Platform,
        }
    }

    pub fn refusal(self, who: Who) -> u16 {
        match (who, self) {
            (Who::Nobody, _) => 401,
            (Who::Stranger, Self::Member | Self::Develops | Self::Administers) => 404,
            _ => 403,
        }
    }
}

struct Case {
    method: Method,
    /// As in the description.
    entry: &'static str,
    path: String,
    body: Option<Value>,
    pass: Pass,
}

fn cases(f: &Fixture) -> Vec<Case> {
    let (run, environment, project, schedule) = (f.run, f.environment, f.project, f.schedule);
    let case = |method: Method, entry: &'static str, path: &str, body: Option<Value>, pass| Case {
        method,
        entry,
        path: format!("/api/v1{path}"),
        body,
        pass,
    };
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    vec![
        case(get.clone(), "/whoami", "/whoami", None, Pass::Known),
        case(post.clone(), "/login-links", "/login-links", Some(json!({})), Pass::Platform),
        case(post.clone(), "/tokens", "/tokens", Some(json!({"name": "ci"})), Pass::Known),
        case(get.clone(), "/tokens", "/tokens", None, Pass::Known),
        case(get.clone(), "/projects", "/projects", None, Pass::Known),
        case(post.clone(), "/projects", "/projects", Some(json!({"slug": "newer"})), Pass::Platform),
        case(post.clone(), "/demo-project", "/demo-project", None, Pass::Platform),
        case(get.clone(), "/projects/{project}", "/projects/demo", None, Pass::Member),
        case(get.clone(), "/projects/{project}", &format!("/projects/{project}"), None, Pass::Member),
        case(get.clone(), "/projects/{project}/branches", "/projects/demo/branches", None, Pass::Member),
        case(get.clone(), "/projects/{project}/runs", "/projects/demo/runs?limit=5", None, Pass::Member),
        case(
            get.clone(),
            "/projects/{project}/environments",
            "/projects/demo/environments",
            None,
            Pass::Member,
        ),
        case(
            post.clone(),
            "/projects/{project}/moves",
            "/projects/demo/moves",
            Some(json!({"branch": "feature-x", "target": {"onto": "stage", "stage": "development"}})),
            // Nothing moves: the branch is there already. Real moves are tested with the board's rules.
            Pass::Member,
        ),
        case(
            post.clone(),
            "/projects/{project}/on-push",
            "/projects/demo/on-push",
            Some(json!({"branch": "feature-x", "build": false})),
            Pass::Develops,
        ),
        case(
            post.clone(),
            "/projects/{project}/labels",
            "/projects/demo/labels",
            Some(json!({"labels": ["eu"]})),
            Pass::Administers,
        ),
        case(
            post.clone(),
            "/hosts/{host}/labels",
            &format!("/hosts/{}/labels", f.host),
            Some(json!({"labels": ["eu"]})),
            Pass::Platform,
        ),
        case(
            post.clone(),
            "/hosts/{host}/limits",
            &format!("/hosts/{}/limits", f.host),
            Some(json!({"min_free_disk_bytes": 1})),
            Pass::Platform,
        ),
        case(
            post.clone(),
            "/queue/limits",
            "/queue/limits",
            Some(json!({"kind": "backup", "max_running": null})),
            Pass::Platform,
        ),
        case(get.clone(), "/runs/{run}", &format!("/runs/{run}"), None, Pass::Member),
        case(get.clone(), "/runs/{run}/events", &format!("/runs/{run}/events"), None, Pass::Member),
        case(get.clone(), "/runs/{run}/logs", &format!("/runs/{run}/logs"), None, Pass::Develops),
        case(
            post.clone(),
            "/environments",
            "/environments",
            Some(json!({"project": "demo", "kind": "development", "git_ref": "refs/heads/feature-x"})),
            Pass::Develops,
        ),
        case(
            get.clone(),
            "/environments/{environment}",
            &format!("/environments/{environment}"),
            None,
            Pass::Member,
        ),
        case(
            delete,
            "/environments/{environment}",
            &format!("/environments/{environment}"),
            None,
            Pass::Develops,
        ),
        // Not a websocket: who passes is told so. Real ones are tested with containers, in `inside`.
        case(
            get.clone(),
            "/environments/{environment}/shell",
            &format!("/environments/{environment}/shell"),
            None,
            Pass::Develops,
        ),
        case(get.clone(), "/runs/{run}/attempts", &format!("/runs/{run}/attempts"), None, Pass::Member),
        case(post.clone(), "/runs/{run}/retry", &format!("/runs/{run}/retry"), None, Pass::Develops),
        case(
            post.clone(),
            "/runs/{run}/priority",
            &format!("/runs/{run}/priority"),
            Some(json!({"priority": 5})),
            Pass::Platform,
        ),
        case(get.clone(), "/status", "/status", None, Pass::Platform),
        case(get.clone(), "/queue", "/queue", None, Pass::Platform),
        case(get.clone(), "/hosts", "/hosts", None, Pass::Platform),
        case(get.clone(), "/workers", "/workers", None, Pass::Platform),
        case(
            post.clone(),
            "/workers/{worker}/drain",
            "/workers/worker-one/drain",
            Some(json!({"drain": false})),
            Pass::Platform,
        ),
        // It was just heard of.
        case(Method::DELETE, "/workers/{worker}", "/workers/worker-one", None, Pass::Platform),
        case(
            post.clone(),
            "/hosts/{host}/confirm",
            &format!("/hosts/{}/confirm", f.host),
            None,
            Pass::Platform,
        ),
        case(post.clone(), "/dry-runs", "/dry-runs", Some(json!({})), Pass::Platform),
        case(get.clone(), "/dry-runs/{request}", &format!("/dry-runs/{}", f.dry_run), None, Pass::Platform),
        case(get.clone(), "/quarantine", "/quarantine?ended=true", None, Pass::Platform),
        case(
            post.clone(),
            "/quarantine/{id}/restore",
            &format!("/quarantine/{}/restore", f.quarantined),
            None,
            Pass::Platform,
        ),
        case(
            post.clone(),
            "/quarantine/{id}/delete",
            &format!("/quarantine/{}/delete", f.quarantined),
            Some(json!({"name": "shop"})),
            Pass::Platform,
        ),
        case(get.clone(), "/schedules", "/schedules?project=demo", None, Pass::Member),
        case(get.clone(), "/schedules", "/schedules", None, Pass::Platform),
        case(
            post.clone(),
            "/schedules",
            "/schedules",
            Some(
                json!({"project": "demo", "name": "again", "cron": "@daily", "work": {"kind": "build", "branch": "feature-x"}}),
            ),
            Pass::Administers,
        ),
        case(
            post.clone(),
            "/schedules",
            "/schedules",
            Some(
                json!({"name": "again", "cron": "@daily", "work": {"kind": "maintenance", "task": "reconcile"}}),
            ),
            Pass::Platform,
        ),
        case(
            get.clone(),
            "/schedule-preview",
            "/schedule-preview?cron=@daily&time_zone=Europe/Brussels",
            None,
            Pass::Known,
        ),
        case(get.clone(), "/schedules/{schedule}", &format!("/schedules/{schedule}"), None, Pass::Member),
        case(
            get.clone(),
            "/schedules/{schedule}/runs",
            &format!("/schedules/{schedule}/runs"),
            None,
            Pass::Member,
        ),
        case(
            Method::PATCH,
            "/schedules/{schedule}",
            &format!("/schedules/{schedule}"),
            Some(json!({"cron": "0 3 * * *"})),
            Pass::Administers,
        ),
        case(
            post.clone(),
            "/schedules/{schedule}/run",
            &format!("/schedules/{schedule}/run"),
            None,
            Pass::Administers,
        ),
        case(post.clone(), "/runs/{run}/rebuild", &format!("/runs/{run}/rebuild"), None, Pass::Develops),
        case(post, "/runs/{run}/cancel", &format!("/runs/{run}/cancel"), None, Pass::Develops),
        // Last, when the run has ended: else it would be watched for ever.
        case(get, "/runs/{run}/watch", &format!("/runs/{run}/watch"), None, Pass::Member),
    ]
}

/// What is gone for the second who passes: `tokens_are_ones_own`, `schedules_are_deleted_by_administrators`. Hosts and
/// what only workers know: `joining`, `inside`.
const ELSEWHERE: [(&str, &str); 6] = [
    ("get", "/api/v1/environments/{environment}/files"),
    ("delete", "/api/v1/tokens/{token}"),
    ("delete", "/api/v1/schedules/{schedule}"),
    ("post", "/api/v1/host-tokens"),
    ("post", "/api/v1/hosts/{host}/revoke"),
    ("get", "/api/v1/environments/{environment}/admin-password"),
];

#[tokio::test]
async fn threat_02_every_entry_of_the_api_as_everybody() {
    let f = Fixture::new().await;
    let mut described = BTreeSet::new();
    for (path, item) in api::description().paths.paths {
        let operations = [
            ("get", item.get),
            ("post", item.post),
            ("put", item.put),
            ("patch", item.patch),
            ("delete", item.delete),
        ];
        described.extend(
            operations.into_iter().filter(|(_, o)| o.is_some()).map(|(m, _)| (m.to_owned(), path.clone())),
        );
    }
    let mut tested: BTreeSet<_> = ELSEWHERE.iter().map(|(m, p)| ((*m).to_owned(), (*p).to_owned())).collect();
    for case in cases(&f) {
        tested.insert((case.method.as_str().to_lowercase(), format!("/api/v1{}", case.entry)));
        // First all who are refused, so that nothing has changed when those who pass come.
        let (pass, refused): (Vec<_>, Vec<_>) =
            [Who::Nobody].into_iter().chain(Who::KNOWN).partition(|who| case.pass.lets(*who));
        for who in refused {
            let answer = f.ask(who, case.method.clone(), &case.path, case.body.clone()).await;
            let at = format!("{who:?} {} {}: {}", case.method, case.path, answer.text);
            assert_eq!(answer.status.as_u16(), case.pass.refusal(who), "{at}");
            assert!(!answer.text.contains(SHA), "{at}");
            assert!(!answer.json()["message"].as_str().unwrap().is_empty(), "{at}");
        }
        for who in pass {
            let answer = f.ask(who, case.method.clone(), &case.path, case.body.clone()).await;
            let at = format!("{who:?} {} {}: {}", case.method, case.path, answer.text);
            // Deeds of one are in the way of the next: what is there already, or gone already, is a passed check.
            assert!(answer.status.is_success() || matches!(answer.status.as_u16(), 409 | 422), "{at}");
        }
    }
    assert_eq!(described, tested, "an entry without a case, or a case without an entry");
}

#[tokio::test]
async fn threat_02_moves_follow_role_and_stage() {
    let f = Fixture::new().await;
    let to = async |who, branch: &str, stage: &str| {
        let body = json!({"branch": branch, "target": {"onto": "stage", "stage": stage}});
        let answer = f.ask(who, Method::POST, "/api/v1/projects/demo/moves", Some(body)).await;
        (answer.status.as_u16(), answer.json())
    };
    // Developers have development, testers staging too, administrators production.
    assert_eq!(to(Who::Developer, "feature-x", "staging").await.0, 403);
    assert_eq!(to(Who::Viewer, "feature-x", "staging").await.0, 403);
    let (status, moved) = to(Who::Tester, "feature-x", "staging").await;
    assert_eq!((status, moved["outcome"].as_str()), (200, Some("restaged")), "{moved}");
    assert!(moved["run"].is_string(), "{moved}");
    assert_eq!(to(Who::Tester, "main", "development").await.0, 403);
    assert_eq!(to(Who::Tester, "feature-x", "development").await.0, 200);
    let (status, refused) = to(Who::Owner, "feature-x", "production").await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("branch.second_production")), "{refused}");
    assert_eq!(to(Who::Admin, "main", "development").await.0, 200);
    assert_eq!(to(Who::Owner, "nowhere", "staging").await.0, 404);
    let card = f.ask(Who::Viewer, Method::GET, "/api/v1/projects/demo/branches", None).await.json();
    let main = card.as_array().unwrap().iter().find(|card| card["id"] == f.main.to_string()).unwrap().clone();
    assert_eq!(main["stage"], "development");
}

#[tokio::test]
async fn threat_02_lists_show_nothing_of_other_projects() {
    let f = Fixture::new().await;
    let slugs = async |who| {
        let answer = f.ask(who, Method::GET, "/api/v1/projects", None).await;
        let projects = answer.json().as_array().unwrap().clone();
        projects.iter().map(|p| p["slug"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(slugs(Who::Viewer).await, ["demo"]);
    assert_eq!(slugs(Who::Stranger).await, ["other"]);
    assert_eq!(slugs(Who::Platform).await, ["demo", "other"]);
}

#[tokio::test]
async fn threat_02_tokens_are_ones_own() {
    let f = Fixture::new().await;
    let body = Some(json!({"name": "ci"}));
    let made = f.ask(Who::Owner, Method::POST, "/api/v1/tokens", body).await.json();
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(token.starts_with("ops_"), "{token}");
    let path = format!("/api/v1/tokens/{id}");
    assert_eq!(f.ask(Who::Nobody, Method::DELETE, &path, None).await.status, 401);
    for who in [Who::Stranger, Who::Admin, Who::Platform] {
        assert_eq!(f.ask(who, Method::DELETE, &path, None).await.status, 404, "{who:?}");
    }
    let list = f.ask(Who::Owner, Method::GET, "/api/v1/tokens", None).await;
    assert!(list.text.contains(id) && !list.text.contains(token), "{}", list.text);
    assert_eq!(f.ask(Who::Owner, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(f.ask(Who::Owner, Method::DELETE, &path, None).await.status, 404);
}

#[tokio::test]
async fn threat_02_schedules_are_deleted_by_administrators() {
    let f = Fixture::new().await;
    let path = format!("/api/v1/schedules/{}", f.schedule);
    let delete = async |who| f.ask(who, Method::DELETE, &path, None).await.status.as_u16();
    assert_eq!(delete(Who::Nobody).await, 401);
    assert_eq!(delete(Who::Stranger).await, 404);
    for who in [Who::Viewer, Who::Developer, Who::Tester] {
        assert_eq!(delete(who).await, 403, "{who:?}");
    }
    assert_eq!(delete(Who::Admin).await, 204);
    assert_eq!(delete(Who::Owner).await, 404);
}

#[tokio::test]
async fn the_socket_acts_as_platform_administrator() {
    let f = Fixture::new().await;
    let me = f.operate(Method::GET, "/api/v1/whoami", None).await.json();
    assert_eq!((me["name"].as_str(), me["platform_admin"].as_bool()), (Some("Administrator"), Some(true)));
    let made =
        f.operate(Method::POST, "/api/v1/projects", Some(json!({"slug": "fresh", "name": "Fresh"}))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id: odooops::id::ProjectId = made.json()["id"].as_str().unwrap().parse().unwrap();
    assert!(f.web.config.repository(id).join("HEAD").is_file());
    let again = f.operate(Method::POST, "/api/v1/projects", Some(json!({"slug": "fresh"}))).await;
    assert_eq!((again.status.as_u16(), again.code().as_str()), (422, "project.slug_taken"), "{}", again.text);
}

#[tokio::test]
async fn threat_01_hostile_names_are_refused_in_the_apis_own_words() {
    let f = Fixture::new().await;
    let long = "a".repeat(300);
    for bad in ["x; touch pwned $(id)", "../../etc", "-rf", "a|b", "`id`", "a\nb", &long] {
        let body = json!({"project": "demo", "kind": "development", "git_ref": bad});
        let answer = f.operate(Method::POST, "/api/v1/environments", Some(body)).await;
        assert_eq!(answer.status, 422, "{bad:?} {}", answer.text);
        let answer = f.operate(Method::POST, "/api/v1/projects", Some(json!({"slug": bad}))).await;
        assert_eq!(answer.status, 422, "{bad:?} {}", answer.text);
    }
    let answer = f.operate(Method::GET, "/api/v1/runs/1", None).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "request.path"));
    let answer = f.operate(Method::GET, "/api/v1/no/such/entry", None).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "entry"));
}

#[tokio::test]
async fn the_description_names_every_schema_that_it_refers_to() {
    let text = api::description().to_json().unwrap();
    let parsed: Value = serde_json::from_str(&text).unwrap();
    let known = parsed["components"]["schemas"].as_object().unwrap();
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(known.contains_key(name), "{name}");
    }
}
