use super::{ProjectSummary, Slug, query};
use crate::{
    Error, Result,
    access::{Action, Actor, authorise},
    audit,
    error::Detail,
    id::ProjectId,
};
use sqlx::PgConnection;

/// What makes a project. The repository is created by the caller once the transaction is sure of the slug.
#[derive(Debug, Clone)]
pub struct NewProject {
    pub slug: Slug,
    pub name: String,
    pub remote_url: Option<String>,
}

pub async fn list(conn: &mut PgConnection, actor: &Actor) -> Result<Vec<ProjectSummary>> {
    authorise(conn, actor, Action::ListProjects).await?;
    query::list(conn).await
}

pub async fn find_by_slug(conn: &mut PgConnection, actor: &Actor, slug: &Slug) -> Result<ProjectSummary> {
    let id = resolve(conn, actor, slug).await?;
    query::list(conn).await?.into_iter().find(|p| p.id == id).ok_or(Error::not_found("project"))
}

/// The id of a project that the actor may see.
pub async fn resolve(conn: &mut PgConnection, actor: &Actor, slug: &Slug) -> Result<ProjectId> {
    let id = query::id_by_slug(conn, slug).await?.ok_or(Error::not_found("project"))?;
    authorise(conn, actor, Action::ViewProject(id)).await?;
    Ok(id)
}

pub async fn create_in_txn(conn: &mut PgConnection, actor: &Actor, new: &NewProject) -> Result<ProjectId> {
    authorise(conn, actor, Action::CreateProject).await?;
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > 120 || name.chars().any(char::is_control) {
        return Err(Error::invalid("name", Detail::new("project.name_length")));
    }
    let id = ProjectId::new();
    query::insert(conn, id, &new.slug, name, new.remote_url.as_deref()).await?;
    audit::record_in_txn(
        conn,
        actor,
        audit::Entry {
            action: "project.create",
            object_type: "project",
            object_id: id.to_string(),
            project: Some(id),
            detail: serde_json::json!({ "slug": new.slug, "remote_url": new.remote_url }),
        },
    )
    .await?;
    Ok(id)
}
