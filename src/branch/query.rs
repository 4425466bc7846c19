use super::{BranchCard, BranchName, CardEnvironment, CommitLine, CommitSha, OnPush, RunDot, Stage};
use crate::{
    Result,
    environment::EnvironmentState,
    id::{BranchId, ProjectId},
    run::{RunKind, RunStatus, Step},
    urls::Urls,
};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use std::collections::HashMap;

/// A branch as the rules and services need it.
#[derive(Debug, Clone)]
pub struct Branch {
    pub id: BranchId,
    pub project_id: ProjectId,
    pub name: BranchName,
    pub stage: Stage,
    pub on_push: OnPush,
    pub head: Option<CommitLine>,
}

fn head(
    sha: Option<String>,
    subject: Option<String>,
    author: Option<String>,
    at: Option<DateTime<Utc>>,
) -> Result<Option<CommitLine>> {
    Ok(match (sha, at) {
        (Some(sha), Some(authored_at)) => Some(CommitLine {
            sha: CommitSha::parse(&sha)?,
            subject: subject.unwrap_or_default(),
            author: author.unwrap_or_default(),
            authored_at,
        }),
        _ => None,
    })
}

/// All branches of a project, locked against concurrent moves when the caller is about to decide one.
pub async fn list(conn: &mut PgConnection, project: ProjectId, lock: bool) -> Result<Vec<Branch>> {
    if lock {
        sqlx::query_scalar!(
            "select id from ops.branches where project_id = $1 order by id for update",
            project.0
        )
        .fetch_all(&mut *conn)
        .await?;
    }
    let rows = sqlx::query!(
        r#"select id, project_id, name, stage as "stage: Stage", on_push as "on_push: OnPush", head_sha, head_subject,
               head_author, head_authored_at
           from ops.branches where project_id = $1 and deleted_at is null order by position, name"#,
        project.0
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Branch {
                id: row.id.into(),
                project_id: row.project_id.into(),
                name: BranchName::parse(&row.name)?,
                stage: row.stage,
                on_push: row.on_push,
                head: head(row.head_sha, row.head_subject, row.head_author, row.head_authored_at)?,
            })
        })
        .collect()
}

pub async fn project_of(conn: &mut PgConnection, branch: BranchId) -> Result<Option<ProjectId>> {
    let id = sqlx::query_scalar!(
        "select project_id from ops.branches where id = $1 and deleted_at is null",
        branch.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(Into::into))
}

/// The cards of the board: production first, then by the time of the last build.
pub async fn cards(conn: &mut PgConnection, project: ProjectId, urls: &Urls) -> Result<Vec<BranchCard>> {
    let branches = list(conn, project, false).await?;
    let mut runs: HashMap<BranchId, Vec<RunDot>> = HashMap::new();
    let rows = sqlx::query!(
        r#"select b.id as branch_id, r.id, r.kind as "kind: RunKind", r.status as "status: RunStatus", r.commit_sha,
               r.step as "step: Step", r.queued_at, r.started_at, r.finished_at
           from ops.branches b
           cross join lateral (
               select * from ops.runs where branch_id = b.id and kind = 'build' order by queued_at desc, id desc limit 8
           ) r
           where b.project_id = $1 and b.deleted_at is null order by r.queued_at desc, r.id desc"#,
        project.0
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in rows {
        runs.entry(row.branch_id.into()).or_default().push(RunDot {
            id: row.id.into(),
            kind: row.kind,
            status: row.status,
            commit_sha: CommitSha::parse(&row.commit_sha)?,
            step: row.step,
            queued_at: row.queued_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        });
    }
    let rows = sqlx::query!(
        r#"select distinct on (e.branch_id) e.branch_id as "branch_id!", e.id, e.state as "state: EnvironmentState",
               e.hostname, e.run_id as "run_id!"
           from ops.environments e join ops.branches b on b.id = e.branch_id
           where e.project_id = $1 and e.run_id is not null and e.state in ('running', 'stopped')
           order by e.branch_id, (e.stage = b.stage) desc, e.created_at desc"#,
        project.0
    )
    .fetch_all(conn)
    .await?;
    let mut environments: HashMap<BranchId, CardEnvironment> = rows
        .into_iter()
        .map(|row| {
            let environment = CardEnvironment {
                id: row.id.into(),
                state: row.state,
                url: urls.environment(&row.hostname),
                run_id: row.run_id.into(),
            };
            (row.branch_id.into(), environment)
        })
        .collect();
    let mut cards: Vec<BranchCard> = branches
        .into_iter()
        .map(|branch| BranchCard {
            runs: runs.remove(&branch.id).unwrap_or_default(),
            environment: environments.remove(&branch.id),
            id: branch.id,
            name: branch.name,
            stage: branch.stage,
            on_push: branch.on_push,
            head: branch.head,
        })
        .collect();
    cards.sort_by_key(|card| (card.stage, std::cmp::Reverse(card.runs.first().map(|run| run.queued_at))));
    Ok(cards)
}

/// The branch's head moves; an unknown branch is made in development, a deleted one comes back.
pub async fn upsert_head(
    conn: &mut PgConnection,
    project: ProjectId,
    name: &BranchName,
    head: &CommitLine,
) -> Result<(BranchId, Stage, OnPush)> {
    let row = sqlx::query!(
        r#"insert into ops.branches
               (project_id, name, head_sha, head_subject, head_author, head_authored_at, pushed_at)
           values ($1, $2, $3, $4, $5, $6, now())
           on conflict (project_id, name) where deleted_at is null do update
               set head_sha = excluded.head_sha, head_subject = excluded.head_subject,
                   head_author = excluded.head_author, head_authored_at = excluded.head_authored_at, pushed_at = now()
           returning id, stage as "stage: Stage", on_push as "on_push: OnPush""#,
        project.0,
        name.as_str(),
        head.sha.as_str(),
        head.subject,
        head.author,
        head.authored_at
    )
    .fetch_one(conn)
    .await?;
    Ok((row.id.into(), row.stage, row.on_push))
}

pub async fn set_stage(conn: &mut PgConnection, id: BranchId, stage: Stage, on_push: OnPush) -> Result<bool> {
    let done = sqlx::query!(
        "update ops.branches set stage = $2, on_push = $3 where id = $1 and deleted_at is null",
        id.0,
        stage as Stage,
        on_push as OnPush
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The branch is gone from the repository. Its builds and environments go with it, production's but by hand.
pub async fn mark_deleted(
    conn: &mut PgConnection,
    project: ProjectId,
    name: &BranchName,
) -> Result<Option<BranchId>> {
    let id = sqlx::query_scalar!(
        "update ops.branches set deleted_at = now() where project_id = $1 and name = $2 and deleted_at is null
         returning id",
        project.0,
        name.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(Into::into))
}
