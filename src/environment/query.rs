use super::{EnvironmentState, EnvironmentSummary};
use crate::{
    Error, Result,
    branch::{BranchName, CommitSha, Stage},
    id::{BranchId, EnvironmentId, HostId, ProjectId, RunId},
    project::Slug,
    queue::{self, Claim},
    urls::Urls,
};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use std::collections::HashSet;

/// What a worker knows of the environment that a run builds.
#[derive(Debug, Clone)]
pub struct Environment {
    pub id: EnvironmentId,
    pub project_id: ProjectId,
    pub branch_id: Option<BranchId>,
    pub run_id: Option<RunId>,
    pub stage: Stage,
    pub state: EnvironmentState,
    pub commit_sha: String,
    pub database_name: String,
    pub container_id: Option<String>,
    pub image: Option<String>,
    pub hostname: String,
    /// Where the proxy finds it.
    pub address: Option<String>,
    /// Where its container, database and files are.
    pub host_id: Option<HostId>,
    pub created_at: DateTime<Utc>,
}

/// Where a server that passed its gate is found, and what it runs.
pub struct Published<'a> {
    pub container: &'a str,
    pub image: &'a str,
    pub address: &'a str,
    pub port: u16,
}

/// The label under which an environment is reached: project, branch and the end of the run's id.
pub fn hostname(slug: &Slug, branch: Option<&BranchName>, run: RunId) -> String {
    let run = run.0.simple().to_string();
    let tail = &run[run.len() - 6..];
    let room = 63 - slug.as_str().len() - tail.len() - 2;
    let branch = branch.map_or_else(|| "run".to_owned(), |b| b.label(room.min(30)));
    format!("{slug}-{branch}-{tail}")
}

/// The environment of a run, made when the run is first tried and found again when it is retried. It is on the host of
/// the worker that holds the run. Locks the run until the transaction ends.
pub async fn create_for_run(
    conn: &mut PgConnection,
    claim: &Claim,
) -> std::result::Result<Environment, queue::Error> {
    let run = claim.id;
    let row = sqlx::query!(
        r#"select p.slug, b.name as "branch?"
           from ops.runs r join ops.projects p on p.id = r.project_id
           left join ops.branches b on b.id = r.branch_id where r.id = $1"#,
        run.0
    )
    .fetch_one(&mut *conn)
    .await?;
    let id = EnvironmentId::new();
    let unreadable = |error| sqlx::Error::Decode(Box::new(error));
    let slug = Slug::parse(&row.slug).map_err(unreadable)?;
    let branch = row.branch.as_deref().map(BranchName::parse).transpose().map_err(unreadable)?;
    sqlx::query!(
        r#"select ops.create_environment($1, $2, $3, $4, $5) as "id!""#,
        run.0,
        claim.lease,
        id.0,
        format!("env_{}", id.0.simple()),
        hostname(&slug, branch.as_ref(), run)
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok(by_run(conn, run).await?.ok_or(sqlx::Error::RowNotFound)?)
}

pub async fn by_run(
    conn: &mut PgConnection,
    run: RunId,
) -> std::result::Result<Option<Environment>, sqlx::Error> {
    let environment = sqlx::query_as!(
        Environment,
        r#"select id as "id: EnvironmentId", project_id as "project_id: ProjectId", branch_id as "branch_id: BranchId",
               run_id as "run_id: RunId", stage as "stage: Stage", state as "state: EnvironmentState",
               commit_sha, database_name, container_id, image, hostname, address,
               host_id as "host_id: HostId", created_at
           from ops.environments where run_id = $1 order by created_at desc limit 1"#,
        run.0
    );
    environment.fetch_optional(conn).await
}

/// Environments that no host was written down for are on this one.
pub async fn settle(conn: &mut PgConnection, host: HostId) -> Result<()> {
    sqlx::query!(
        "update ops.environments set host_id = $1 where host_id is null and state <> 'destroyed'",
        host.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The container of an environment whose server runs.
pub async fn container(conn: &mut PgConnection, id: EnvironmentId) -> Result<String> {
    let found = sqlx::query_scalar!(
        r#"select container_id from ops.environments where id = $1 and state = 'running'"#,
        id.0
    );
    found.fetch_optional(conn).await?.flatten().ok_or(Error::not_found("environment"))
}

/// All environments that something may still exist of.
pub async fn live(conn: &mut PgConnection) -> Result<Vec<Environment>> {
    let environments = sqlx::query_as!(
        Environment,
        r#"select id as "id: EnvironmentId", project_id as "project_id: ProjectId", branch_id as "branch_id: BranchId",
               run_id as "run_id: RunId", stage as "stage: Stage", state as "state: EnvironmentState",
               commit_sha, database_name, container_id, image, hostname, address,
               host_id as "host_id: HostId", created_at
           from ops.environments where state in ('building', 'running', 'stopped', 'destroying') order by id"#
    );
    Ok(environments.fetch_all(conn).await?)
}

/// What the environment will run, known before it does: an image in use is not removed.
pub async fn set_image(conn: &mut PgConnection, id: EnvironmentId, image: &str) -> Result<()> {
    let done = sqlx::query!("update ops.environments set image = $2 where id = $1", id.0, image)
        .execute(conn)
        .await?;
    one_row(done.rows_affected())
}

/// The server runs and passed its gate: it is published under its hostname.
pub async fn set_running(
    conn: &mut PgConnection,
    id: EnvironmentId,
    published: &Published<'_>,
) -> Result<()> {
    let done = sqlx::query!(
        "update ops.environments
         set state = 'running', container_id = $2, image = $3, address = $4, port = $5, started_at = now()
         where id = $1 and state = 'building'",
        id.0,
        published.container,
        published.image,
        published.address,
        i32::from(published.port)
    )
    .execute(conn)
    .await?;
    one_row(done.rows_affected())
}

pub async fn set_state(conn: &mut PgConnection, id: EnvironmentId, state: EnvironmentState) -> Result<()> {
    let done = sqlx::query!(
        "update ops.environments
         set state = $2, destroyed_at = case when $2 = 'destroyed' then now() else destroyed_at end
         where id = $1",
        id.0,
        state as EnvironmentState
    )
    .execute(conn)
    .await?;
    one_row(done.rows_affected())
}

/// Where the server answers now: Docker may give another address after a restart, and a container that is gone is
/// replaced by another. False: that was known, or the environment does not run any more.
pub async fn set_server(
    conn: &mut PgConnection,
    id: EnvironmentId,
    container: &str,
    address: &str,
    port: u16,
) -> Result<bool> {
    let done = sqlx::query!(
        "update ops.environments set container_id = $2, address = $3, port = $4
         where id = $1 and state = 'running' and (container_id, address, port) is distinct from ($2, $3, $4)",
        id.0,
        container,
        address,
        i32::from(port)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Nothing is reached there any more; a newer address stays.
pub async fn clear_address(conn: &mut PgConnection, id: EnvironmentId, address: &str) -> Result<()> {
    sqlx::query!(
        "update ops.environments set address = null, port = null where id = $1 and address = $2",
        id.0,
        address
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Of a branch only the newest environment of a stage stays, and none of a stage that the branch has left; the
/// reconcilers of their hosts take the others away. One that somebody made beside the branch's own stage replaces only its like:
/// never production.
pub async fn retire_older(conn: &mut PgConnection, newest: EnvironmentId) -> Result<i32> {
    let retired = sqlx::query_scalar!("select ops.retire_older_environments($1)", newest.0);
    Ok(retired.fetch_one(conn).await?.unwrap_or_default())
}

/// Environments whose run ended, for whatever reason, before they were published.
pub async fn abandoned(conn: &mut PgConnection) -> Result<HashSet<EnvironmentId>> {
    let ids = sqlx::query_scalar!(
        "select e.id from ops.environments e left join ops.runs r on r.id = e.run_id
         where e.state = 'building' and (r.id is null or r.status not in ('queued', 'claimed', 'running'))"
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

/// Runs that some worker holds.
pub async fn active_runs(conn: &mut PgConnection) -> Result<HashSet<RunId>> {
    let runs = sqlx::query_scalar!("select id from ops.runs where status in ('claimed', 'running')")
        .fetch_all(conn)
        .await?;
    Ok(runs.into_iter().map(Into::into).collect())
}

fn one_row(rows: u64) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::not_found("environment")) }
}

pub async fn summary(
    conn: &mut PgConnection,
    id: EnvironmentId,
    urls: &Urls,
) -> Result<Option<EnvironmentSummary>> {
    Ok(summaries(conn, None, Some(id), urls).await?.pop())
}

pub async fn list(
    conn: &mut PgConnection,
    project: ProjectId,
    urls: &Urls,
) -> Result<Vec<EnvironmentSummary>> {
    summaries(conn, Some(project), None, urls).await
}

async fn summaries(
    conn: &mut PgConnection,
    project: Option<ProjectId>,
    id: Option<EnvironmentId>,
    urls: &Urls,
) -> Result<Vec<EnvironmentSummary>> {
    let rows = sqlx::query!(
        r#"select e.id, e.project_id, b.name as "branch?", e.stage as "stage: Stage",
               e.state as "state: EnvironmentState", e.commit_sha, e.run_id as "run_id!", e.hostname, e.created_at
           from ops.environments e left join ops.branches b on b.id = e.branch_id
           where e.run_id is not null and ($1::uuid is null or e.project_id = $1) and ($2::uuid is null or e.id = $2)
           order by e.created_at desc limit 500"#,
        project.map(|p| p.0),
        id.map(|e| e.0)
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(EnvironmentSummary {
                id: row.id.into(),
                project_id: row.project_id.into(),
                branch: row.branch.as_deref().map(BranchName::parse).transpose()?,
                stage: row.stage,
                state: row.state,
                commit_sha: CommitSha::parse(&row.commit_sha)?,
                run_id: row.run_id.into(),
                url: urls.environment(&row.hostname),
                hostname: row.hostname,
                created_at: row.created_at,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostname_is_one_dns_label() {
        let slug = Slug::parse(&"a".repeat(40)).unwrap();
        let branch = BranchName::parse(&"feature/LONG_name-".repeat(10)).unwrap();
        let name = hostname(&slug, Some(&branch), RunId::new());
        assert!(name.len() <= 63 && !name.contains("--"), "{name}");
        assert!(hostname(&slug, None, RunId::new()).starts_with(slug.as_str()));
    }
}
