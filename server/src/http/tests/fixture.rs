//! A project with people of every role, a second project without them, and the two doors to it.

use crate::http::{self, Web};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use odooops::{
    config::{Config, Flags},
    git::{Git, GitSettings, Repositories},
    id::{
        BranchId, EnvironmentId, HostId, ProjectId, QuarantineId, ReconcilerRequestId, RunId, ScheduleId,
        UserId,
    },
    postgres::testing::TestDb,
    session::Secret,
};
use serde_json::Value;
use sqlx::{ConnectOptions, PgConnection};
use std::collections::HashMap;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const OURS: &str = "http://localhost:3000";
pub const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Nobody,
    /// Has an account and no membership here.
    Stranger,
    Viewer,
    Developer,
    Tester,
    Admin,
    Owner,
    /// Platform administrator.
    Platform,
}

impl Who {
    pub const KNOWN: [Self; 7] = [
        Self::Stranger,
        Self::Viewer,
        Self::Developer,
        Self::Tester,
        Self::Admin,
        Self::Owner,
        Self::Platform,
    ];

    fn role(self) -> Option<&'static str> {
        match self {
            Self::Nobody | Self::Stranger | Self::Platform => None,
            Self::Viewer => Some("viewer"),
            Self::Developer => Some("developer"),
            Self::Tester => Some("tester"),
            Self::Admin => Some("admin"),
            Self::Owner => Some("owner"),
        }
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub struct Fixture {
    pub db: TestDb,
    pub web: Web,
    pub console: Router,
    pub socket: Router,
    pub users: HashMap<Who, UserId>,
    pub tokens: HashMap<Who, String>,
    pub sessions: HashMap<Who, String>,
    pub project: ProjectId,
    pub main: BranchId,
    pub feature: BranchId,
    pub run: RunId,
    pub environment: EnvironmentId,
    pub host: HostId,
    pub dry_run: ReconcilerRequestId,
    pub quarantined: QuarantineId,
    pub schedule: ScheduleId,
    _dir: tempfile::TempDir,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(keys: &[(&'static str, &str)]) -> Self {
        let db = TestDb::new().await;
        let dir = tempfile::tempdir().unwrap();
        let mut given: std::collections::BTreeMap<_, _> =
            keys.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        given.insert("data_dir", dir.path().display().to_string());
        given.insert("site_root", dir.path().join("site").display().to_string());
        // Pages need the names of the browser's files, not the files.
        std::fs::create_dir(dir.path().join("site")).unwrap();
        std::fs::write(dir.path().join("site/hash.txt"), "js: 1\nwasm: 1\ncss: 1\n").unwrap();
        let config = Config::load(&Flags { file: None, keys: given }, |_| None).unwrap();
        let settings = GitSettings {
            root: config.git_dir(),
            ops: dir.path().join("ops"),
            allow_file: false,
            allow_private_hosts: false,
            ssh_key: None,
        };
        let repositories = Repositories::new(Git::open(settings).await.unwrap());
        let web =
            Web::new(config, db.web.clone(), repositories, "build-1".to_owned(), CancellationToken::new());
        let mut conn = db.superuser_options().connect().await.unwrap();
        let project = self::project(&mut conn, "demo").await;
        let other = self::project(&mut conn, "other").await;
        let (mut users, mut tokens, mut sessions) = (HashMap::new(), HashMap::new(), HashMap::new());
        for who in Who::KNOWN {
            let (user, token, session) = person(&mut conn, who).await;
            users.insert(who, user);
            tokens.insert(who, token);
            sessions.insert(who, session);
            // Strangers are members somewhere else.
            match (who, who.role()) {
                (_, Some(role)) => member(&mut conn, project, user, role).await,
                (Who::Stranger, None) => member(&mut conn, other, user, "owner").await,
                _ => {}
            }
        }
        let main = branch(&mut conn, project, "main", "production").await;
        let feature = branch(&mut conn, project, "feature-x", "development").await;
        let run = self::run(&mut conn, project, feature).await;
        let environment = self::environment(&mut conn, project, feature).await;
        let (host, dry_run, quarantined) = self::host(&mut conn).await;
        let schedule = self::schedule(&mut conn, project, feature).await;
        let (console, socket) = (http::console(&web), http::socket(&web));
        Self {
            db,
            web,
            console,
            socket,
            users,
            tokens,
            sessions,
            project,
            main,
            feature,
            run,
            environment,
            host,
            dry_run,
            quarantined,
            schedule,
            _dir: dir,
        }
    }

    pub async fn superuser(&self) -> PgConnection {
        self.db.superuser_options().connect().await.unwrap()
    }

    pub fn cookie(&self, who: Who) -> String {
        format!("ops_session={}", self.sessions[&who])
    }

    /// A request to the browsers' door with a token.
    pub async fn ask(&self, who: Who, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = self.tokens.get(&who) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        // Nobody comes from our own page, so that what refuses them is that they are nobody.
        request = request.header(header::ORIGIN, OURS);
        send(&self.console, json(request, body)).await
    }

    /// A request as a browser makes it from our own page.
    pub async fn browse(&self, who: Who, method: Method, path: &str, form: Option<String>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost:3000");
        if self.sessions.contains_key(&who) {
            request = request.header(header::COOKIE, self.cookie(who));
        }
        request = request.header(header::ORIGIN, OURS);
        let body = match form {
            Some(form) => {
                request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
                Body::from(form)
            }
            None => Body::empty(),
        };
        send(&self.console, request.body(body).unwrap()).await
    }

    /// A request on the server's own socket.
    pub async fn operate(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        send(&self.socket, json(Request::builder().method(method).uri(path), body)).await
    }

    /// The queued run goes to a worker; gives its lease.
    pub async fn start_run(&self) -> i64 {
        self.start(self.run).await
    }

    /// The same for another one, which is next.
    pub async fn start(&self, run: RunId) -> i64 {
        let mut conn = self.db.worker.acquire().await.unwrap();
        let claimed =
            sqlx::query!(r#"select id as "id!", lease as "lease!" from ops.claim_next_run('test')"#)
                .fetch_one(&mut *conn)
                .await
                .unwrap();
        assert_eq!(claimed.id, run.0);
        sqlx::query!(r#"select (ops.start_workflow_run($1, 'test', $2)).id as "id!""#, run.0, claimed.lease)
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        claimed.lease
    }

    pub async fn log(&self, lease: i64, messages: &[String]) {
        let levels = vec!["info".to_owned(); messages.len()];
        sqlx::query!(
            r#"select ops.append_run_log($1, $2::text[], $3::text[], '{"stream": "odoo"}', $4) as "seq!""#,
            self.run.0,
            &levels,
            messages,
            lease
        )
        .fetch_one(&self.db.worker)
        .await
        .unwrap();
    }

    pub async fn finish_run(&self, lease: i64, status: &str) {
        self.finish(self.run, lease, status).await;
    }

    pub async fn finish(&self, run: RunId, lease: i64, status: &str) {
        sqlx::query!(r#"select (ops.finish_run($1, $2, $3, 0, null)).id as "id!""#, run.0, lease, status)
            .fetch_one(&self.db.worker)
            .await
            .unwrap();
    }
}

pub fn json(request: axum::http::request::Builder, body: Option<Value>) -> Request<Body> {
    let request = request.header(header::HOST, "localhost:3000");
    match body {
        Some(body) => {
            let request = request.header(header::CONTENT_TYPE, "application/json");
            request.body(Body::from(body.to_string())).unwrap()
        }
        None => request.body(Body::empty()).unwrap(),
    }
}

pub async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 10 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

async fn project(conn: &mut PgConnection, slug: &str) -> ProjectId {
    sqlx::query_scalar!("insert into ops.projects (slug, name) values ($1, $1) returning id", slug)
        .fetch_one(conn)
        .await
        .unwrap()
        .into()
}

async fn person(conn: &mut PgConnection, who: Who) -> (UserId, String, String) {
    let name = format!("{who:?}");
    let (token, session) = (Secret::token(), Secret::new());
    let (token_hash, session_hash) = (token.fingerprint(), session.fingerprint());
    let id = sqlx::query_scalar!(
        "insert into ops.users (name, email, platform_admin) values ($1, $2, $3) returning id",
        name,
        format!("{name}@example.test"),
        who == Who::Platform
    )
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    sqlx::query!(
        "insert into ops.api_tokens (hash, user_id, name) values ($1, $2, 'test')",
        token_hash.as_bytes(),
        id
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    sqlx::query!(
        "insert into ops.sessions (hash, user_id, provider, expires_at)
         values ($1, $2, 'test', now() + interval '1 hour')",
        session_hash.as_bytes(),
        id
    )
    .execute(conn)
    .await
    .unwrap();
    (id.into(), token.expose().to_owned(), session.expose().to_owned())
}

async fn member(conn: &mut PgConnection, project: ProjectId, user: UserId, role: &str) {
    sqlx::query!(
        "insert into ops.project_memberships (project_id, user_id, role) values ($1, $2, $3)",
        project.0,
        user.0,
        role
    )
    .execute(conn)
    .await
    .unwrap();
}

async fn branch(conn: &mut PgConnection, project: ProjectId, name: &str, stage: &str) -> BranchId {
    sqlx::query_scalar!(
        "insert into ops.branches (project_id, name, stage, head_sha, head_subject, head_author, head_authored_at)
         values ($1, $2, $3, $4, 'A commit', 'Ann', now()) returning id",
        project.0,
        name,
        stage,
        SHA
    )
    .fetch_one(conn)
    .await
    .unwrap()
    .into()
}

async fn run(conn: &mut PgConnection, project: ProjectId, branch: BranchId) -> RunId {
    sqlx::query_scalar!(
        "insert into ops.runs (project_id, branch_id, kind, git_ref, commit_sha)
         values ($1, $2, 'build', 'refs/heads/feature-x', $3) returning id",
        project.0,
        branch.0,
        SHA
    )
    .fetch_one(conn)
    .await
    .unwrap()
    .into()
}

/// A machine with a worker, a dry run asked of it, and data of production in quarantine.
async fn host(conn: &mut PgConnection) -> (HostId, ReconcilerRequestId, QuarantineId) {
    let row = sqlx::query!(
        r#"with h as (insert into ops.hosts (name) values ('host-one') returning id),
             w as (insert into ops.workers (id, host_id, version, capacity) select 'worker-one', id, '1', 2 from h),
             r as (insert into ops.reconciler_requests (host_id) select id from h returning id),
             q as (insert into ops.quarantine (host_id, kind, name, original_name, production, reason)
                   select id, 'database', 'shop_q', 'shop', true, 'no owner' from h returning id)
           select h.id as host, r.id as request, q.id as quarantined from h, r, q"#
    )
    .fetch_one(conn)
    .await
    .unwrap();
    (row.host.into(), row.request.into(), row.quarantined.into())
}

/// Of the project, for its development branch.
async fn schedule(conn: &mut PgConnection, project: ProjectId, branch: BranchId) -> ScheduleId {
    sqlx::query_scalar!(
        "insert into ops.schedules (project_id, name, cron, kind, params)
         values ($1, 'nightly', '0 2 * * *', 'build', jsonb_build_object('branch_id', $2::uuid)) returning id",
        project.0,
        branch.0
    )
    .fetch_one(conn)
    .await
    .unwrap()
    .into()
}

async fn environment(conn: &mut PgConnection, project: ProjectId, branch: BranchId) -> EnvironmentId {
    let run = run(conn, project, branch).await;
    sqlx::query!("update ops.runs set status = 'succeeded', finished_at = now() where id = $1", run.0)
        .execute(&mut *conn)
        .await
        .unwrap();
    sqlx::query_scalar!(
        "insert into ops.environments
             (project_id, branch_id, run_id, stage, state, git_ref, commit_sha, database_name, hostname)
         values ($1, $2, $3, 'development', 'running', 'refs/heads/feature-x', $4, 'env_test', 'demo-feature-x-123456')
         returning id",
        project.0,
        branch.0,
        run.0,
        SHA
    )
    .fetch_one(conn)
    .await
    .unwrap()
    .into()
}
