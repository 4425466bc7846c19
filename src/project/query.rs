use super::{ProjectSummary, Slug};
use crate::{Error, Result, error::Detail, id::ProjectId};
use sqlx::PgConnection;

pub async fn list(conn: &mut PgConnection) -> Result<Vec<ProjectSummary>> {
    let rows = sqlx::query!(
        r#"select p.id, p.slug, p.name, p.odoo_series, p.remote_url, p.fetch_error, p.required_labels,
               p.created_at,
               (select count(*) from ops.branches b where b.project_id = p.id and b.deleted_at is null) as "branches!",
               (select count(*) from ops.environments e where e.project_id = p.id and e.state = 'running')
                   as "running_environments!",
               (select count(*) from ops.runs r
                where r.project_id = p.id and r.status in ('queued', 'claimed', 'running')) as "active_runs!",
               (select max(r.queued_at) from ops.runs r where r.project_id = p.id) as last_activity_at
           from ops.projects p where p.archived_at is null order by lower(p.name), p.id"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ProjectSummary {
                id: row.id.into(),
                slug: Slug::parse(&row.slug)?,
                name: row.name,
                odoo_series: row.odoo_series,
                remote_url: row.remote_url,
                fetch_error: row.fetch_error,
                required_labels: row.required_labels,
                branches: row.branches,
                running_environments: row.running_environments,
                active_runs: row.active_runs,
                last_activity_at: row.last_activity_at,
                created_at: row.created_at,
            })
        })
        .collect()
}

pub async fn id_by_slug(conn: &mut PgConnection, slug: &Slug) -> Result<Option<ProjectId>> {
    let id = sqlx::query_scalar!(
        "select id from ops.projects where slug = $1 and archived_at is null",
        slug.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(Into::into))
}

/// Where the project is fetched from; None when its own repository is the source.
pub async fn remote_url(conn: &mut PgConnection, id: ProjectId) -> Result<Option<String>> {
    let url = sqlx::query_scalar!("select remote_url from ops.projects where id = $1", id.0)
        .fetch_one(conn)
        .await?;
    Ok(url)
}

/// How the last fetch went.
pub async fn set_fetched(conn: &mut PgConnection, id: ProjectId, error: Option<&str>) -> Result<()> {
    let changed = sqlx::query_scalar!(
        r#"with before as (select id, fetch_error from ops.projects where id = $1)
           update ops.projects p
           set fetched_at = case when $2::text is null then now() else p.fetched_at end, fetch_error = $2
           from before where p.id = before.id returning before.fetch_error is distinct from $2 as "changed!""#,
        id.0,
        error
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Error::not_found("project"))?;
    if changed {
        // The board shows it.
        sqlx::query!("select pg_notify('ops_board', $1)", id.to_string()).fetch_one(conn).await?;
    }
    Ok(())
}

pub async fn insert(
    conn: &mut PgConnection,
    id: ProjectId,
    slug: &Slug,
    name: &str,
    remote_url: Option<&str>,
) -> Result<()> {
    sqlx::query!(
        "insert into ops.projects (id, slug, name, remote_url) values ($1, $2, $3, $4)",
        id.0,
        slug.as_str(),
        name,
        remote_url
    )
    .execute(conn)
    .await
    .map_err(|error| match error.as_database_error().and_then(|e| e.constraint()) {
        Some("projects_slug_key") => {
            Error::invalid("slug", Detail::new("project.slug_taken").with("value", slug))
        }
        Some("projects_name_length") => Error::invalid("name", Detail::new("project.name_length")),
        _ => error.into(),
    })?;
    Ok(())
}

pub async fn slug_by_id(conn: &mut PgConnection, id: ProjectId) -> Result<Option<Slug>> {
    let slug =
        sqlx::query_scalar!("select slug from ops.projects where id = $1 and archived_at is null", id.0)
            .fetch_optional(conn)
            .await?;
    slug.map(|slug| Slug::parse(&slug)).transpose()
}
