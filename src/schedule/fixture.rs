//! A project with two branches, and who may do what in it.

use super::{NewSchedule, Work, service};
use crate::{
    Result,
    access::{self, Actor},
    branch::BranchName,
    id::{BranchId, ProjectId, ScheduleId, UserId},
    postgres::testing::TestDb,
    project::Slug,
};
use sqlx::{ConnectOptions, PgConnection, Postgres, Transaction};

pub struct Yard {
    pub db: TestDb,
    pub superuser: PgConnection,
    pub admin: Actor,
    pub project: ProjectId,
    pub branch: BranchId,
}

impl Yard {
    pub async fn new() -> Self {
        let db = TestDb::new().await;
        let mut superuser = db.superuser_options().connect().await.unwrap();
        let (project, branch) = (ProjectId::new(), BranchId::new());
        sqlx::query!("insert into ops.projects (id, slug, name) values ($1, 'shop', 'Shop')", project.0)
            .execute(&mut superuser)
            .await
            .unwrap();
        for (id, name, stage) in [(BranchId::new(), "main", "production"), (branch, "feature", "development")]
        {
            sqlx::query!(
                "insert into ops.branches (id, project_id, name, stage, head_sha) values ($1, $2, $3, $4, $5)",
                id.0,
                project.0,
                name,
                stage,
                "a".repeat(40)
            )
            .execute(&mut superuser)
            .await
            .unwrap();
        }
        let admin = sqlx::query_scalar!(r#"select ops.platform_administrator() as "id!""#);
        let admin = UserId(admin.fetch_one(&mut superuser).await.unwrap());
        Self {
            db,
            superuser,
            admin: Actor { user_id: admin, platform_admin: true, address: None },
            project,
            branch,
        }
    }

    /// A new person, in the project when there is a role.
    pub async fn person(&mut self, name: &str, role: Option<&str>) -> Actor {
        let id = UserId::new();
        sqlx::query!(
            "insert into ops.users (id, name, email) values ($1, $2, $2 || '@example.com')",
            id.0,
            name
        )
        .execute(&mut self.superuser)
        .await
        .unwrap();
        if let Some(role) = role {
            sqlx::query!(
                "insert into ops.project_memberships (project_id, user_id, role) values ($1, $2, $3)",
                self.project.0,
                id.0,
                role
            )
            .execute(&mut self.superuser)
            .await
            .unwrap();
        }
        Actor { user_id: id, platform_admin: false, address: None }
    }

    pub async fn begin(&self, actor: &Actor) -> Transaction<'static, Postgres> {
        access::begin_as(&self.db.web, actor).await.unwrap()
    }

    pub async fn create(&self, actor: &Actor, new: &NewSchedule) -> Result<ScheduleId> {
        let mut txn = self.begin(actor).await;
        let id = service::create_in_txn(&mut txn, actor, new).await?;
        txn.commit().await?;
        Ok(id)
    }

    /// A build of the branch, every hour.
    pub fn hourly(&self) -> NewSchedule {
        NewSchedule {
            project: Some(Slug::parse("shop").unwrap()),
            name: "hourly".to_owned(),
            cron: "0 * * * *".to_owned(),
            time_zone: None,
            work: Work::Build { branch: BranchName::parse("feature").unwrap() },
        }
    }

    /// As if it had been due so many hours ago, on the hour, and nobody had been there.
    pub async fn was_due(&mut self, id: ScheduleId, hours_ago: i32) {
        let done = sqlx::query!(
            "update ops.schedules set next_due_at = date_trunc('hour', now()) - make_interval(hours => $2) where id = $1",
            id.0,
            hours_ago
        );
        assert_eq!(done.execute(&mut self.superuser).await.unwrap().rows_affected(), 1);
    }

    pub async fn runs(&mut self) -> i64 {
        sqlx::query_scalar!(r#"select count(*) as "n!" from ops.runs"#)
            .fetch_one(&mut self.superuser)
            .await
            .unwrap()
    }
}
