//! For tests of the queue: plain SQL as a person with psql would send it, and what PostgreSQL says to it.

use crate::postgres::testing::TestDb;
use sqlx::{ConnectOptions, Executor, PgConnection, Row};
use uuid::Uuid;

/// What a refusal says: SQLSTATE and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub message: String,
}

/// The first column of the first row as text; none when there is no row or it is null.
pub async fn ask(conn: &mut PgConnection, sql: &str) -> Result<Option<String>, Refusal> {
    match conn.fetch_optional(format!("select (q.answer)::text from ({sql}) q (answer)").as_str()).await {
        Ok(row) => Ok(row.and_then(|row| row.get(0))),
        Err(error) => {
            let error = error.as_database_error().unwrap_or_else(|| panic!("{sql}: {error}"));
            Err(Refusal { code: error.code().unwrap_or_default().into(), message: error.message().into() })
        }
    }
}

/// A project, and connections as who sees and may do all, and as a worker.
#[derive(Debug)]
pub struct Yard {
    pub db: TestDb,
    pub superuser: PgConnection,
    pub worker: PgConnection,
    pub project: Uuid,
}

impl Yard {
    pub async fn new() -> Self {
        let db = TestDb::new().await;
        let mut superuser = db.superuser_options().connect().await.unwrap();
        let worker = db.options(crate::postgres::ops::Role::Worker).connect().await.unwrap();
        let project = new_project(&mut superuser).await;
        Self { db, superuser, worker, project }
    }

    pub async fn queue(&mut self) -> Uuid {
        let sql = format!("select ops.queue_run('{}', 'test', 'main', 'abcdef0')", self.project);
        ask(&mut self.superuser, &sql).await.unwrap().unwrap().parse().unwrap()
    }

    /// The lease of the claim, which must be of that run.
    pub async fn claim(&mut self, run: Uuid, worker: &str) -> i64 {
        let sql = format!("select id::text || ' ' || lease from ops.claim_next_run('{worker}')");
        let claimed = ask(&mut self.worker, &sql).await.unwrap().expect("a run is claimed");
        let (id, lease) = claimed.split_once(' ').unwrap();
        assert_eq!(id, run.to_string());
        lease.parse().unwrap()
    }
}

pub async fn new_project(superuser: &mut PgConnection) -> Uuid {
    let slug = format!("p{}", &Uuid::now_v7().simple().to_string()[12..]);
    let sql = format!("select ops.create_project('{slug}', 'Shop')");
    ask(superuser, &sql).await.unwrap().unwrap().parse().unwrap()
}
