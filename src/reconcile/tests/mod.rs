//! Reconcilers against a real Docker, a tenants cluster of the test's own, and a database of its own.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod asked;
mod beside;
mod collecting;
mod docker_away;
mod epochs;
mod last_words;
mod ownerless;
mod quarantined;
mod restored;
mod routes;
mod servers;
mod slow;
mod unused;

use super::{Mode, Report, keeper, owner, query};
use crate::{
    access::{self, Actor},
    branch::Stage,
    config::{Config, Flags},
    docker::{
        ContainerSpec, Docker, DockerConfig, Labels, names,
        testing::{BUSYBOX, ensure_busybox, remove_all},
    },
    git::{Git, GitSettings, Repositories},
    id::{EnvironmentId, HostId, InstallationId, ProjectId, RunId, UserId},
    postgres::{TemplateName, database_name, testing::TestDb, testing_tenants::TestTenants},
    run::job::{Workshop, collect::Collectors, template},
    urls::Urls,
};
use sqlx::{ConnectOptions, PgConnection, PgPool, Postgres, Transaction};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// An installation with one host, whose Docker and cluster may have others beside it.
struct Yard {
    db: Arc<TestDb>,
    shop: Workshop,
    collectors: Collectors,
    host: HostId,
    project: ProjectId,
    data: TempDir,
}

/// What of an environment is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct There {
    container: bool,
    network: bool,
    database: bool,
    directory: bool,
}

const ALL: There = There { container: true, network: true, database: true, directory: true };
const NOTHING: There = There { container: false, network: false, database: false, directory: false };

impl Yard {
    async fn start(tenants: &TestTenants) -> Self {
        Self::start_on(tenants, "/var/run/docker.sock".into()).await
    }

    async fn start_on(tenants: &TestTenants, socket: PathBuf) -> Self {
        let db = Arc::new(TestDb::new().await);
        let (installation, project) = (InstallationId::new(), ProjectId::new());
        let mut conn = db.superuser_options().connect().await.unwrap();
        // All test databases are copies of one.
        sqlx::query!("update ops.installation set id = $1", installation.0).execute(&mut conn).await.unwrap();
        sqlx::query!("insert into ops.projects (id, slug, name) values ($1, 'yard', 'Yard')", project.0)
            .execute(&mut conn)
            .await
            .unwrap();
        Self::host(tenants, socket, db, installation, project, "yard").await
    }

    /// Another host of the same installation, with a data directory and a cluster of its own, on the same daemon.
    async fn beside(&self, tenants: &TestTenants) -> Self {
        let socket = "/var/run/docker.sock".into();
        let installation = self.shop.docker.installation();
        let other = Self::host(tenants, socket, self.db.clone(), installation, self.project, "beside").await;
        sqlx::query!("update ops.hosts set joined_at = now() where id = $1", other.host.0)
            .execute(&mut self.superuser().await)
            .await
            .unwrap();
        other
    }

    async fn host(
        tenants: &TestTenants,
        socket: PathBuf,
        db: Arc<TestDb>,
        installation: InstallationId,
        project: ProjectId,
        name: &str,
    ) -> Self {
        let data = tempfile::Builder::new().prefix("odooops-").tempdir().unwrap();
        let keys = BTreeMap::from([
            ("data_dir", data.path().display().to_string()),
            ("odoo_image", BUSYBOX.to_owned()),
        ]);
        let config = Config::load(&Flags { file: None, keys }, |_| None).unwrap();
        for folder in [config.environments_dir(), config.templates_dir()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let docker = Docker::connect(DockerConfig {
            socket,
            installation,
            mount_roots: vec![config.environments_dir()],
            subnets: config.environment_subnets,
        })
        .await
        .expect("tests need a Docker daemon");
        ensure_busybox(&docker).await;
        let mut conn = db.superuser_options().connect().await.unwrap();
        let host = HostId::new();
        docker.make_for(host);
        sqlx::query!("insert into ops.hosts (id, name) values ($1, $2)", host.0, name)
            .execute(&mut conn)
            .await
            .unwrap();
        sqlx::query!(
            "insert into ops.workers (id, host_id, version, capacity) values ($2, $1, '0', 20)",
            host.0,
            name
        )
        .execute(&mut conn)
        .await
        .unwrap();
        let git = GitSettings {
            root: config.git_dir(),
            ops: std::env::current_exe().unwrap(),
            allow_file: false,
            allow_private_hosts: false,
            ssh_key: None,
        };
        let shop = Workshop {
            pool: db.worker.clone(),
            docker,
            tenants: tenants.of(installation),
            repositories: Repositories::new(Git::open(git).await.unwrap()),
            urls: Urls::of(&config),
            config: Arc::new(config),
            name: name.to_owned(),
            changed: Arc::default(),
        };
        let collectors = Collectors::new(shop.clone());
        Self { db, shop, collectors, host, project, data }
    }

    async fn superuser(&self) -> PgConnection {
        self.db.superuser_options().connect().await.unwrap()
    }

    fn pool(&self) -> &PgPool {
        &self.shop.pool
    }

    async fn round(&self) {
        keeper::run_round(&self.shop, &self.collectors).await.unwrap();
        keeper::tidy_round(&self.shop, &self.collectors).await.unwrap();
    }

    async fn reports(&self) -> Vec<Report> {
        let mut conn = self.superuser().await;
        query::reports(&mut conn).await.unwrap().into_iter().map(|it| it.report).collect()
    }

    async fn report(&self, name: &str) -> Report {
        self.reports().await.into_iter().find(|report| report.name == name).expect("a report")
    }

    /// A round that finds everything as it should be.
    async fn quiet_round(&self) {
        self.round().await;
        for report in self.reports().await {
            assert_eq!((report.acted, report.would, &report.error), (0, 0, &None), "{report:#?}");
            assert_eq!(report.mode, Mode::Act);
        }
    }

    async fn admin(&self) -> (Actor, Transaction<'static, Postgres>) {
        let admin = sqlx::query_scalar!(r#"select ops.platform_administrator() as "id!""#);
        let admin = UserId(admin.fetch_one(&mut self.superuser().await).await.unwrap());
        let txn = access::begin_as(&self.db.web, admin).await.unwrap();
        (Actor { user_id: admin, platform_admin: true, address: None }, txn)
    }

    /// A run that ended.
    async fn run(&self, status: &str) -> RunId {
        let run = RunId::new();
        sqlx::query!(
            "insert into ops.runs (id, project_id, kind, status, git_ref, commit_sha, lease, worker_id, lease_expires_at)
             values ($1, $2, 'build', $3, 'refs/heads/x', 'abcdef0', nextval('ops.lease_seq'), 'yard',
                     clock_timestamp() + interval '1 hour')",
            run.0,
            self.project.0,
            status
        )
        .execute(&mut self.superuser().await)
        .await
        .unwrap();
        run
    }

    /// The environment's row, without anything behind it.
    async fn row(&self, environment: EnvironmentId, run: RunId, state: &str, stage: Stage) {
        sqlx::query!(
            "insert into ops.environments (id, project_id, run_id, stage, state, git_ref, commit_sha, database_name,
                                           hostname, host_id, image)
             values ($1, $2, $3, $4, $5, 'refs/heads/x', 'abcdef0', $6, $7, $8, $9)",
            environment.0,
            self.project.0,
            run.0,
            stage.as_str(),
            state,
            database_name(environment),
            format!("yard-{}", &environment.0.simple().to_string()[20..]),
            self.host.0,
            BUSYBOX
        )
        .execute(&mut self.superuser().await)
        .await
        .unwrap();
    }

    /// Everything that an environment is made of but its row; the container's id.
    async fn things(&self, environment: EnvironmentId, run: RunId, stage: Stage) -> String {
        let labels = Labels::environment(run, environment);
        let docker = &self.shop.docker;
        let network = docker.ensure_network(&names::environment_network(environment), labels).await.unwrap();
        let id = docker.create_container(&sleeper(environment, labels, Some(network.name))).await.unwrap();
        docker.start_container(&id).await.unwrap();
        self.data(environment, run, stage).await;
        id
    }

    /// Its database and its directory, with something in each.
    async fn data(&self, environment: EnvironmentId, run: RunId, stage: Stage) {
        let template = self.template().await;
        let tenants = &self.shop.tenants;
        let login = tenants.create_database(environment, run, stage, &template, 4).await.unwrap();
        let mut conn = tenants.connect_as(&login).await.unwrap();
        sqlx::Executor::execute(&mut conn, "create table kept (id int)").await.unwrap();
        let folder = self.shop.config.environment_dir(environment);
        std::fs::create_dir_all(folder.join("data")).unwrap();
        std::fs::write(folder.join("data/attachment"), b"kept").unwrap();
        owner::mark(&folder, Labels::environment(run, environment), stage).await.unwrap();
    }

    async fn template(&self) -> TemplateName {
        let image = self.shop.docker.image(BUSYBOX).await.unwrap().unwrap();
        let name = template::name(&image, self.shop.docker.installation(), false).unwrap();
        if let Some(build) = self.shop.tenants.create_template(&name).await.unwrap() {
            build.finish().await.unwrap();
        }
        name
    }

    /// A published environment with all that belongs to it.
    async fn running(&self, stage: Stage) -> EnvironmentId {
        let (environment, run) = (EnvironmentId::new(), self.run("succeeded").await);
        self.row(environment, run, "running", stage).await;
        let container = self.things(environment, run, stage).await;
        let found = self.shop.docker.container(&container).await.unwrap().unwrap();
        let address = found.addresses[&names::environment_network(environment)].to_string();
        sqlx::query!(
            "update ops.environments set container_id = $2, address = $3, port = 8069 where id = $1",
            environment.0,
            container,
            address
        )
        .execute(&mut self.superuser().await)
        .await
        .unwrap();
        environment
    }

    /// Something that the database does not know.
    async fn ownerless(&self, stage: Stage) -> EnvironmentId {
        let (environment, run) = (EnvironmentId::new(), RunId::new());
        self.things(environment, run, stage).await;
        environment
    }

    async fn there(&self, environment: EnvironmentId) -> There {
        let shop = &self.shop;
        let of = |labels: Labels| labels.environment == Some(environment);
        There {
            container: shop.docker.containers().await.unwrap().iter().any(|it| of(it.labels)),
            network: shop.docker.networks().await.unwrap().iter().any(|it| of(it.labels)),
            database: shop.tenants.database_size(environment).await.unwrap().is_some(),
            directory: shop.config.environment_dir(environment).join("data/attachment").exists(),
        }
    }

    async fn state(&self, environment: EnvironmentId) -> String {
        sqlx::query_scalar!("select state from ops.environments where id = $1", environment.0)
            .fetch_one(&mut self.superuser().await)
            .await
            .unwrap()
    }

    async fn finish(self) {
        self.collectors.stop().await;
        remove_all(&self.shop.docker).await.unwrap();
    }
}

/// A test that failed leaves nothing either.
impl Drop for Yard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let installation = self.shop.docker.installation();
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let config = DockerConfig {
                    socket: "/var/run/docker.sock".into(),
                    installation,
                    mount_roots: Vec::new(),
                    subnets: crate::docker::SubnetPool::default(),
                };
                remove_all(&Docker::connect(config).await.ok()?).await.ok()
            })
        });
        _ = removed.join();
    }
}

/// A container that does nothing for as long as it is let.
fn sleeper(environment: EnvironmentId, labels: Labels, network: Option<String>) -> ContainerSpec {
    let mut spec = ContainerSpec::new(names::container(environment, "server-1"), BUSYBOX, labels);
    let script = "trap 'exit 0' TERM; echo started; while :; do /bin/busybox sleep 1; done";
    spec.entrypoint = ["/bin/busybox", "sh", "-c", script].map(str::to_owned).to_vec();
    spec.limits.memory_bytes = 64 * 1024 * 1024;
    spec.network = network;
    spec
}
