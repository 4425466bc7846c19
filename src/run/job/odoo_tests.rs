//! Whole builds: a real worker, a real Odoo, a tenants cluster of its own, the Docker that answers. One worker and
//! one pair of templates serve all cases of a test: making them takes longer than the cases.

mod draining;
mod servers;

use super::{Stop, Workshop, work};
use crate::{
    branch::{BranchName, CommitSha, Stage},
    config::{Config, Flags},
    docker::{Docker, DockerConfig},
    git::{Git, GitSettings, Repositories, Repository, SeedCommit},
    id::{BranchId, EnvironmentId, InstallationId, ProjectId, RunId},
    odoo::demo,
    postgres::{testing::TestDb, testing_tenants::TestTenants},
    urls::Urls,
};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgListener};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// Far above what a build takes: reached only when an event is lost.
const PATIENCE: Duration = Duration::from_secs(300);

struct Yard {
    db: TestDb,
    tenants: TestTenants,
    shop: Workshop,
    project: ProjectId,
    repository: Repository,
    stop: Stop,
    worker: Option<JoinHandle<crate::Result<()>>>,
}

/// A run that ended.
struct Ended {
    run: RunId,
    status: String,
    error: String,
    environment: EnvironmentId,
}

impl Yard {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let (db, tenants) = tokio::join!(TestDb::new(), TestTenants::start());
        let data_dir = tenants.socket().parent().unwrap().parent().unwrap().to_owned();
        let mut keys = BTreeMap::from([
            ("data_dir", data_dir.display().to_string()),
            ("worker_concurrency", "2".to_owned()),
        ]);
        keys.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let config = Config::load(&Flags { file: None, keys }, |_| None).unwrap();
        for folder in [config.environments_dir(), config.templates_dir()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let installation = InstallationId::new();
        let docker = Docker::connect(DockerConfig {
            socket: "/var/run/docker.sock".into(),
            installation,
            mount_roots: vec![config.environments_dir(), config.templates_dir(), config.tenants_socket_dir()],
            subnets: config.environment_subnets,
        })
        .await
        .expect("tests need a Docker daemon");
        let git = GitSettings {
            root: config.git_dir(),
            ops: std::env::current_exe().unwrap(),
            allow_file: false,
            allow_private_hosts: false,
            ssh_key: None,
        };
        let repositories = Repositories::new(Git::open(git).await.unwrap());
        let mut conn = db.superuser_options().connect().await.unwrap();
        let project = ProjectId::new();
        // All test databases are copies of one.
        sqlx::query!("update ops.installation set id = $1", installation.0).execute(&mut conn).await.unwrap();
        sqlx::query!("insert into ops.projects (id, slug, name) values ($1, 'yard', 'Yard')", project.0)
            .execute(&mut conn)
            .await
            .unwrap();
        let repository = repositories.create(project).await.unwrap();
        let shop = Workshop {
            pool: db.worker.clone(),
            docker,
            tenants: tenants.of(installation),
            repositories,
            urls: Urls::of(&config),
            config: Arc::new(config),
            name: "yard".to_owned(),
            changed: Arc::default(),
        };
        let stop = Stop::new();
        let worker = Some(tokio::spawn(work(shop.clone(), stop.clone())));
        Self { db, tenants, shop, project, repository, stop, worker }
    }

    async fn conn(&self) -> PgConnection {
        self.db.superuser_options().connect().await.unwrap()
    }

    /// A branch with one commit of these files.
    async fn branch(&self, name: &str, stage: Stage, files: &[(&str, &[u8])]) -> (BranchId, CommitSha) {
        let branch = BranchName::parse(name).unwrap();
        let commit = SeedCommit { branch: &branch, from: None, message: "x", time: 1_790_000_000, files };
        self.repository.seed(&[commit]).await.unwrap();
        let sha = self.repository.head(&branch).await.unwrap().unwrap();
        let id = BranchId::new();
        sqlx::query!(
            "insert into ops.branches (id, project_id, name, stage, head_sha) values ($1, $2, $3, $4, $5)",
            id.0,
            self.project.0,
            name,
            stage.as_str(),
            sha.as_str()
        )
        .execute(&mut self.conn().await)
        .await
        .unwrap();
        (id, sha)
    }

    async fn queue(&self, branch: BranchId, commit: &CommitSha) -> RunId {
        let run = RunId::new();
        sqlx::query!(
            "insert into ops.runs (id, project_id, branch_id, kind, git_ref, commit_sha, serial_key)
             values ($1, $2, $3, 'build', 'refs/heads/x', $4, $5)",
            run.0,
            self.project.0,
            branch.0,
            commit.as_str(),
            format!("branch:{branch}")
        )
        .execute(&mut self.conn().await)
        .await
        .unwrap();
        run
    }

    async fn build(&self, name: &str, stage: Stage, files: &[(&str, &[u8])]) -> Ended {
        let (branch, sha) = self.branch(name, stage, files).await;
        let run = self.queue(branch, &sha).await;
        self.ended(run).await
    }

    /// Waits until `done` gives something; looks again whenever the run or the board changed.
    async fn wait<T>(&self, what: &str, done: impl AsyncFn(&mut PgConnection) -> Option<T>) -> T {
        let mut listener =
            PgListener::connect_with(&self.db.owner).await.expect("the control database answers");
        listener.listen_all(["ops_run_changed", "ops_board", "ops_log"]).await.unwrap();
        let mut conn = self.conn().await;
        let look = async {
            loop {
                if let Some(found) = done(&mut conn).await {
                    return found;
                }
                listener.recv().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    async fn ended(&self, run: RunId) -> Ended {
        let ended = self.wait("the end of the run", async |conn| {
            let row = sqlx::query!(
                "select status, error_message, environment_id from ops.runs where id = $1 and finished_at is not null",
                run.0
            )
            .fetch_optional(conn)
            .await
            .unwrap()?;
            Some(Ended {
                run,
                status: row.status,
                error: row.error_message.unwrap_or_default(),
                environment: row.environment_id.unwrap().into(),
            })
        });
        let ended = ended.await;
        println!("{}: {} {}", run, ended.status, ended.error);
        println!("{}", self.steps(run).await);
        ended
    }

    /// Waits for the installation's first line.
    async fn installing(&self, run: RunId) {
        self.wait("the installation's first line", async |conn| {
            let lines = sqlx::query_scalar!(
                "select count(*) from ops.run_logs where run_id = $1 and stream = 'install'",
                run.0
            );
            (lines.fetch_one(conn).await.unwrap()? > 0).then_some(())
        })
        .await;
    }

    async fn state(&self, environment: EnvironmentId, state: &str) {
        self.wait(state, async |conn| {
            let now = sqlx::query_scalar!("select state from ops.environments where id = $1", environment.0);
            (now.fetch_one(conn).await.unwrap() == state).then_some(())
        })
        .await;
    }

    /// A line per step: its name, whether it went well, its duration.
    async fn steps(&self, run: RunId) -> String {
        sqlx::query_scalar!(
            r#"select string_agg(concat_ws(' ', payload ->> 'step', payload ->> 'ok', payload ->> 'duration_ms',
                                           payload ->> 'note'), E'\n' order by id) as "steps"
               from ops.run_events where run_id = $1 and type = 'step_finished'"#,
            run.0
        )
        .fetch_one(&mut self.conn().await)
        .await
        .unwrap()
        .unwrap_or_default()
    }

    async fn log(&self, run: RunId) -> String {
        let log = sqlx::query_scalar!(
            "select string_agg(message, E'\n' order by seq) from ops.run_logs where run_id = $1",
            run.0
        );
        log.fetch_one(&mut self.conn().await).await.unwrap().unwrap_or_default()
    }

    /// Nothing of the environment is left in Docker, in the tenants cluster and on disk.
    async fn assert_nothing_left(&self, environment: EnvironmentId) {
        let containers = self.shop.docker.containers().await.unwrap();
        let mine: Vec<_> = containers.iter().filter(|c| c.labels.environment == Some(environment)).collect();
        assert!(mine.is_empty(), "{mine:?}");
        let networks = self.shop.docker.networks().await.unwrap();
        assert!(networks.iter().all(|network| network.labels.environment != Some(environment)));
        let databases = self.shop.tenants.list_databases().await.unwrap();
        assert!(databases.iter().all(|database| database.environment != environment), "{databases:?}");
        assert!(!self.shop.config.environment_dir(environment).exists());
    }

    /// A session in the environment's database, as the cluster's superuser.
    async fn inside(&self, environment: EnvironmentId) -> PgConnection {
        let name = crate::postgres::database_name(environment);
        self.tenants.cluster.superuser_options().database(&name).connect().await.unwrap()
    }

    async fn finish(mut self) {
        self.stop.at_once.cancel();
        self.worker.take().unwrap().await.unwrap().unwrap();
        clean(&self.shop.docker).await;
    }
}

async fn clean(docker: &Docker) {
    for container in docker.containers().await.unwrap() {
        docker.remove_container(&container.id).await.unwrap();
    }
    for network in docker.networks().await.unwrap() {
        docker.remove_network(&network.name).await.unwrap();
    }
}

impl Drop for Yard {
    /// A test that failed still takes its containers away.
    fn drop(&mut self) {
        let docker = self.shop.docker.clone();
        self.stop.at_once.cancel();
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(clean(&docker));
        });
        _ = cleaned.join();
    }
}

/// A module of `end2end/fixtures/addons`.
fn fixture(module: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("end2end/fixtures/addons");
    let files = walkdir::WalkDir::new(root.join(module)).into_iter().map(Result::unwrap);
    files
        .filter(|entry| {
            entry.file_type().is_file() && !entry.path().to_string_lossy().contains("__pycache__")
        })
        .map(|entry| {
            let path = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            (path, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect()
}

/// One number or text from an Odoo database.
#[expect(clippy::disallowed_methods, reason = "an Odoo database is no part of the schema that sqlx checks")]
async fn value(conn: &mut PgConnection, sql: &str) -> String {
    sqlx::query_scalar::<_, Option<String>>(sql).fetch_one(conn).await.unwrap().unwrap_or_default()
}

#[tokio::test]
async fn odoo_builds_are_green_yellow_or_red() {
    let yard = Yard::start().await;

    let main = BranchName::parse("main").unwrap();
    let green = yard.build("main", Stage::Development, demo::files()).await;
    assert_eq!(
        (green.status.as_str(), green.error.as_str()),
        ("succeeded", ""),
        "{}",
        yard.log(green.run).await
    );
    let steps = yard.steps(green.run).await;
    for step in ["sources", "image", "database", "install", "start", "gate", "route"] {
        assert!(steps.lines().any(|line| line.starts_with(&format!("{step} true "))), "{step}\n{steps}");
    }
    let log = yard.log(green.run).await;
    assert!(log.contains("0 failed, 0 error(s) of 7 tests"), "{log}");
    yard.state(green.environment, "running").await;
    let mut inside = yard.inside(green.environment).await;
    assert_eq!(
        value(&mut inside, "select count(*)::text from public.library_book where isbn is not null").await,
        "2"
    );
    let frozen = "select value from public.ir_config_parameter where key = 'web.base.url'";
    assert!(value(&mut inside, frozen).await.contains("yard-main-"));
    let secret = "select value from public.ir_config_parameter where key = 'database.secret'";
    let first_secret = value(&mut inside, secret).await;
    inside.close().await.unwrap();

    // A second build of the branch takes the first one's place once it is green.
    let sha = yard.repository.head(&main).await.unwrap().unwrap();
    let branch = sqlx::query_scalar!("select branch_id from ops.runs where id = $1", green.run.0);
    let branch = branch.fetch_one(&mut yard.conn().await).await.unwrap().unwrap();
    let again = yard.queue(branch.into(), &sha).await;
    let again = yard.ended(again).await;
    assert_eq!(again.status, "succeeded", "{}", again.error);
    yard.state(green.environment, "destroyed").await;
    yard.assert_nothing_left(green.environment).await;
    let mut inside = yard.inside(again.environment).await;
    assert_ne!(value(&mut inside, secret).await, first_secret);
    inside.close().await.unwrap();

    let warns = fixture("warns");
    let yellow = yard.build("warns", Stage::Development, &borrowed(&warns)).await;
    assert_eq!(yellow.status, "warning", "{}", yellow.error);
    yard.state(yellow.environment, "running").await;

    let broken = fixture("broken_test");
    let red = yard.build("broken", Stage::Development, &borrowed(&broken)).await;
    assert_eq!(red.status, "failed");
    assert!(red.error.contains("TestSum.test_sum"), "{}", red.error);
    let log = yard.log(red.run).await;
    let traceback = "    self.assertEqual(1 + 1, 3, \"two and three are not the same\")";
    assert!(log.contains("Traceback (most recent call last):") && log.contains(traceback), "{log}");
    yard.state(red.environment, "failed").await;
    yard.assert_nothing_left(red.environment).await;

    let unknown = fixture("unknown_dep");
    let red = yard.build("unknown", Stage::Development, &borrowed(&unknown)).await;
    assert_eq!(red.status, "failed");
    assert!(red.error.contains("module_that_does_not_exist"), "{}", red.error);

    let not_python = fixture("not_python");
    let red = yard.build("not-python", Stage::Development, &borrowed(&not_python)).await;
    assert_eq!(red.status, "failed");
    assert!(red.error.contains("not_python/__manifest__.py, line 1:"), "{}", red.error);
    yard.assert_nothing_left(red.environment).await;

    yard.finish().await;
}

#[tokio::test]
async fn odoo_staging_has_neither_demo_data_nor_tests() {
    let yard = Yard::start().await;
    let built = yard.build("staging", Stage::Staging, demo::files()).await;
    assert_eq!(built.status, "succeeded", "{}", built.error);
    let mut inside = yard.inside(built.environment).await;
    assert_eq!(value(&mut inside, "select count(*)::text from public.library_book").await, "0");
    assert_eq!(
        value(&mut inside, "select count(*)::text from public.res_users where login = 'demo'").await,
        "0"
    );
    assert!(!yard.log(built.run).await.contains("odoo.tests"));
    inside.close().await.unwrap();
    yard.finish().await;
}

#[tokio::test]
async fn odoo_a_canceled_build_leaves_nothing() {
    let yard = Yard::start().await;
    let (branch, sha) = yard.branch("main", Stage::Staging, demo::files()).await;
    for is_told in [true, false] {
        let run = yard.queue(branch, &sha).await;
        yard.installing(run).await;
        let mut conn = yard.conn().await;
        // Without triggers nothing is announced: the worker's look each second has to find it.
        let triggers = if is_told { "origin" } else { "replica" };
        sqlx::query!("select set_config('session_replication_role', $1, false)", triggers)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        sqlx::query!(r#"select (ops.cancel_run($1)).id as "id!""#, run.0).fetch_one(&mut conn).await.unwrap();
        // Ten times the two seconds that it may take.
        let ended = tokio::time::timeout(Duration::from_secs(20), yard.ended(run)).await;
        let ended = ended.unwrap_or_else(|_| panic!("not canceled, told: {is_told}"));
        assert_eq!(ended.status, "canceled");
        yard.assert_nothing_left(ended.environment).await;
    }
    yard.finish().await;
}
