//! What a push meets: the router on a loopback port, the hooks' socket, a database, people with tokens.

use super::http;
use odooops::{
    access::{self, Actor},
    branch::BranchName,
    git::{Git, GitSettings, Repositories},
    id::{ProjectId, UserId},
    postgres::testing::TestDb,
    project::Slug,
    session,
    urls::Urls,
};
use sqlx::PgPool;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub struct Platform {
    _db: Option<TestDb>,
    pub folder: tempfile::TempDir,
    pub address: SocketAddr,
    pub pool: PgPool,
    /// Past all policies.
    pub owner: PgPool,
    pub repositories: Repositories,
    pub socket: PathBuf,
    pub project: ProjectId,
    pub slug: Slug,
}

impl Platform {
    pub async fn start() -> Self {
        Self::with(false).await
    }

    /// With `file://` remotes, if asked.
    pub async fn with(allow_file: bool) -> Self {
        let db = TestDb::new().await;
        let superuser = PgPool::connect_lazy_with(db.superuser_options());
        let pool = db.web.clone();
        Self { _db: Some(db), ..Self::on(pool, superuser, allow_file).await }
    }

    /// On a database that the caller keeps.
    pub async fn on(pool: PgPool, owner: PgPool, allow_file: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let git = Git::open(GitSettings {
            root: folder.path().join("git"),
            ops: env!("CARGO_BIN_EXE_ops").into(),
            allow_file,
            allow_private_hosts: false,
            ssh_key: None,
        });
        let repositories = Repositories::new(git.await.unwrap());
        let socket = folder.path().join("ops.sock");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = http::git::GitHttp::new(pool.clone(), repositories.clone(), socket.clone());
        let router = http::git::router(state);
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let urls = Urls { scheme: "http".to_owned(), base_domain: "localhost:3000".to_owned() };
        let state = http::hooks::HookState { pool: pool.clone(), repositories: repositories.clone(), urls };
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move { axum::serve(listener, http::hooks::router(state)).await });
        let (project, slug) = (ProjectId::new(), Slug::parse("demo").unwrap());
        odooops::project::query::insert(&mut owner.acquire().await.unwrap(), project, &slug, "Demo", None)
            .await
            .unwrap();
        Self { _db: None, folder, address, pool, owner, repositories, socket, project, slug }
    }

    /// A person with this role in the project, or none, and their token.
    pub async fn person(&self, name: &str, role: Option<&str>) -> (Actor, String) {
        let id = UserId::new();
        let email = format!("{name}@example.com");
        sqlx::query!("insert into ops.users (id, name, email) values ($1, $2, $3)", id.0, name, email)
            .execute(&self.owner)
            .await
            .unwrap();
        if let Some(role) = role {
            sqlx::query!(
                "insert into ops.project_memberships (project_id, user_id, role) values ($1, $2, $3)",
                self.project.0,
                id.0,
                role
            )
            .execute(&self.owner)
            .await
            .unwrap();
        }
        let mut txn = access::begin_as(&self.pool, id).await.unwrap();
        let (_, secret) = session::service::create_token(&mut txn, "test", None).await.unwrap();
        txn.commit().await.unwrap();
        (Actor { user_id: id, platform_admin: false, address: None }, secret.expose().to_owned())
    }

    /// The administrator whom the reconciler acts as.
    pub async fn administrator(&self) -> Actor {
        let mut txn = self.pool.begin().await.unwrap();
        let me = session::service::platform_administrator(&mut txn).await.unwrap();
        txn.commit().await.unwrap();
        Actor { user_id: me.id, platform_admin: me.platform_admin, address: None }
    }

    pub fn url(&self, token: &str) -> String {
        format!("http://git:{token}@{}/git/{}.git", self.address, self.slug)
    }

    /// A clone to work in, with a first commit on `main`.
    pub fn work(&self, name: &str, token: &str) -> Work {
        let path = self.folder.path().join(name);
        let work = Work { path };
        std::fs::create_dir(&work.path).unwrap();
        work.ok(&["init", "--quiet", "-b", "main"]);
        work.ok(&["remote", "add", "origin", &self.url(token)]);
        work
    }

    /// Name, commit and number of builds of each branch that the board shows.
    pub async fn board(&self) -> Vec<(String, String, i64)> {
        let rows = sqlx::query!(
            r#"select b.name, b.head_sha, (select count(*) from ops.runs r where r.branch_id = b.id) as "runs!"
               from ops.branches b where b.project_id = $1 and b.deleted_at is null order by b.name"#,
            self.project.0
        )
        .fetch_all(&self.owner)
        .await
        .unwrap();
        rows.into_iter().map(|row| (row.name, row.head_sha.unwrap_or_default(), row.runs)).collect()
    }

    pub async fn stage(&self, branch: &str, stage: &str) {
        let done = sqlx::query!(
            "update ops.branches set stage = $3 where project_id = $1 and name = $2",
            self.project.0,
            branch,
            stage
        )
        .execute(&self.owner)
        .await
        .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }

    pub async fn heads(&self) -> Vec<(BranchName, String)> {
        let heads = self.repositories.of(self.project).heads().await.unwrap();
        heads.into_iter().map(|(name, head)| (name, head.sha.to_string())).collect()
    }
}

/// A developer's machine.
pub struct Work {
    pub path: PathBuf,
}

impl Work {
    pub fn run(&self, args: &[&str]) -> Output {
        git(&self.path, args)
    }

    /// Runs and returns what git printed, both ways.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = shown(&output);
        assert!(output.status.success(), "git {args:?}: {text}");
        text
    }

    pub fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = shown(&output);
        assert!(!output.status.success(), "git {args:?} succeeded: {text}");
        text
    }

    pub fn commit(&self, file: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path.join(file), content).unwrap();
        self.ok(&["add", "--all"]);
        self.ok(&["commit", "--quiet", "-m", &format!("Change {file}")]);
        self.ok(&["rev-parse", "HEAD"]).trim().to_owned()
    }
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn git(path: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.current_dir(path).args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    for (key, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@example.com"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@example.com"),
        ("HOME", "/nonexistent"),
    ] {
        command.env(key, value);
    }
    command.output().unwrap()
}
