//! What a new build takes out of its way, and what its environment replaces.

use super::service::{NewBuild, queue_build_in_txn};
use crate::{
    access::{self, Actor},
    branch::{CommitLine, CommitSha, Stage},
    environment::query::retire_older,
    id::{BranchId, EnvironmentId, ProjectId, RunId, UserId},
    postgres::testing::TestDb,
};
use sqlx::{ConnectOptions, PgConnection};

struct Yard {
    db: TestDb,
    superuser: PgConnection,
    actor: Actor,
    project: ProjectId,
    /// In production.
    main: BranchId,
}

impl Yard {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let mut superuser = db.superuser_options().connect().await.unwrap();
        let (project, main) = (ProjectId::new(), BranchId::new());
        sqlx::query!("insert into ops.projects (id, slug, name) values ($1, 'shop', 'Shop')", project.0)
            .execute(&mut superuser)
            .await
            .unwrap();
        sqlx::query!(
            "insert into ops.branches (id, project_id, name, stage, head_sha) values ($1, $2, 'main', 'production', $3)",
            main.0,
            project.0,
            "a".repeat(40)
        )
        .execute(&mut superuser)
        .await
        .unwrap();
        let admin = sqlx::query_scalar!(r#"select ops.platform_administrator() as "id!""#);
        let admin = UserId(admin.fetch_one(&mut superuser).await.unwrap());
        let actor = Actor { user_id: admin, platform_admin: true, address: None };
        Self { db, superuser, actor, project, main }
    }

    async fn queue(&self, stage: Stage) -> RunId {
        let mut txn = access::begin_as(&self.db.web, self.actor.user_id).await.unwrap();
        let commit = CommitLine {
            sha: CommitSha::parse(&"a".repeat(40)).unwrap(),
            subject: "x".to_owned(),
            author: "x".to_owned(),
            authored_at: chrono::DateTime::UNIX_EPOCH,
        };
        let new = NewBuild {
            project: self.project,
            branch: Some(self.main),
            stage,
            git_ref: "refs/heads/main",
            commit: &commit,
        };
        let run = queue_build_in_txn(&mut txn, &self.actor, new).await.unwrap();
        txn.commit().await.unwrap();
        run
    }

    async fn status(&mut self, run: RunId) -> String {
        let status = sqlx::query_scalar!("select status from ops.runs where id = $1", run.0);
        status.fetch_one(&mut self.superuser).await.unwrap()
    }

    async fn environment(&mut self, stage: Stage) -> EnvironmentId {
        let id = EnvironmentId::new();
        sqlx::query!(
            "insert into ops.environments
                 (id, project_id, branch_id, stage, state, git_ref, commit_sha, database_name, hostname)
             values ($1, $2, $3, $4, 'running', 'refs/heads/main', $5, $6, $7)",
            id.0,
            self.project.0,
            self.main.0,
            stage.as_str(),
            "a".repeat(40),
            format!("env_{}", id.0.simple()),
            id.to_string()
        )
        .execute(&mut self.superuser)
        .await
        .unwrap();
        id
    }

    async fn state(&mut self, environment: EnvironmentId) -> String {
        let state = sqlx::query_scalar!("select state from ops.environments where id = $1", environment.0);
        state.fetch_one(&mut self.superuser).await.unwrap()
    }
}

#[tokio::test]
async fn a_build_replaces_waiting_builds_of_its_stage_and_of_those_the_branch_has_left() {
    let mut yard = Yard::new().await;
    let production = yard.queue(Stage::Production).await;
    let beside = yard.queue(Stage::Development).await;
    assert_eq!(yard.status(production).await, "queued", "a build beside takes nothing from production");
    let again = yard.queue(Stage::Development).await;
    assert_eq!(yard.status(beside).await, "superseded");
    let newest = yard.queue(Stage::Production).await;
    assert_eq!(yard.status(production).await, "superseded");
    assert_eq!(yard.status(again).await, "superseded");
    assert_eq!(yard.status(newest).await, "queued");
}

#[tokio::test]
async fn production_finishes_what_it_began_and_others_are_canceled() {
    let mut yard = Yard::new().await;
    let running = yard.queue(Stage::Production).await;
    sqlx::query!("update ops.runs set status = 'running' where id = $1", running.0)
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    yard.queue(Stage::Production).await;
    let row = sqlx::query!("select status, cancel_requested_at from ops.runs where id = $1", running.0);
    let row = row.fetch_one(&mut yard.superuser).await.unwrap();
    assert_eq!((row.status.as_str(), row.cancel_requested_at), ("running", None));
    sqlx::query!(
        "update ops.runs set params = jsonb_set(params, '{stage}', '\"staging\"') where id = $1",
        running.0
    )
    .execute(&mut yard.superuser)
    .await
    .unwrap();
    yard.queue(Stage::Production).await;
    let asked = sqlx::query_scalar!("select cancel_requested_at from ops.runs where id = $1", running.0);
    assert!(asked.fetch_one(&mut yard.superuser).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_published_last_replaces_also_what_a_clock_ahead_made_before() {
    let mut yard = Yard::new().await;
    let first = yard.environment(Stage::Production).await;
    sqlx::query!("update ops.environments set created_at = now() + interval '1 hour' where id = $1", first.0)
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    let second = yard.environment(Stage::Production).await;
    assert_eq!(retire_older(&mut yard.superuser, second).await.unwrap(), 1);
    assert_eq!(
        (yard.state(first).await.as_str(), yard.state(second).await.as_str()),
        ("destroying", "running")
    );
}

#[tokio::test]
async fn an_environment_made_beside_production_never_replaces_it() {
    let mut yard = Yard::new().await;
    let production = yard.environment(Stage::Production).await;
    let first = yard.environment(Stage::Development).await;
    let second = yard.environment(Stage::Development).await;
    assert_eq!(retire_older(&mut yard.superuser, second).await.unwrap(), 1);
    assert_eq!(yard.state(first).await, "destroying");
    assert_eq!(yard.state(production).await, "running");
    let newest = yard.environment(Stage::Production).await;
    assert_eq!(retire_older(&mut yard.superuser, newest).await.unwrap(), 2);
    assert_eq!(yard.state(production).await, "destroying");
    assert_eq!(yard.state(second).await, "destroying");
}

#[tokio::test]
async fn production_takes_only_the_newest_after_what_it_could_not_finish() {
    let mut yard = Yard::new().await;
    let first = yard.queue(Stage::Production).await;
    let claim = crate::queue::claim(&mut yard.superuser, "one").await.unwrap().unwrap();
    assert_eq!((claim.id, claim.attempt), (first, 1));
    // Nothing newer: it waits again, and that was no attempt.
    crate::queue::hand_back(&mut yard.superuser, &claim, "stopped").await.unwrap();
    assert_eq!(yard.status(first).await, "queued");
    let claim = crate::queue::claim(&mut yard.superuser, "one").await.unwrap().unwrap();
    assert_eq!((claim.id, claim.attempt), (first, 1));
    let newest = yard.queue(Stage::Production).await;
    assert_eq!(yard.status(first).await, "running", "production finishes what it began");
    crate::queue::retry(&mut yard.superuser, &claim, "the platform failed").await.unwrap();
    assert_eq!(yard.status(first).await, "superseded", "the older commit is not built after the newer one");
    let row = sqlx::query!("select superseded_by, finished_at from ops.runs where id = $1", first.0);
    let row = row.fetch_one(&mut yard.superuser).await.unwrap();
    assert_eq!((row.superseded_by, row.finished_at.is_some()), (Some(newest.0), true));
    let claim = crate::queue::claim(&mut yard.superuser, "one").await.unwrap().unwrap();
    assert_eq!(claim.id, newest);
    // A worker that is gone.
    let last = yard.queue(Stage::Production).await;
    sqlx::query!(
        "update ops.runs set lease_expires_at = now() - interval '1 minute' where id = $1",
        newest.0
    )
    .execute(&mut yard.superuser)
    .await
    .unwrap();
    assert_eq!(crate::queue::requeue_lost(&mut yard.superuser).await.unwrap(), 1);
    assert_eq!(yard.status(newest).await, "superseded");
    assert_eq!(yard.status(last).await, "queued");
}
