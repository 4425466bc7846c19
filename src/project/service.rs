use super::{ProjectSummary, Slug, query};
use crate::{
    Error, Result, access,
    access::{Action, Actor, authorise},
    audit,
    error::{Detail, sqlstate},
    git::{GitUrl, Repositories, reconcile_project},
    host::labels,
    id::ProjectId,
};
use sqlx::{PgConnection, PgPool};
use std::time::Duration;

/// What makes a project.
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
    let Some(id) = query::id_by_slug(conn, slug).await? else {
        audit::note_unseen_project(actor, slug.as_str());
        return Err(Error::not_found("project"));
    };
    authorise(conn, actor, Action::ViewProject(id)).await?;
    Ok(id)
}

async fn create_in_txn(conn: &mut PgConnection, actor: &Actor, new: &NewProject) -> Result<ProjectId> {
    authorise(conn, actor, Action::CreateProject).await?;
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > 120 || name.chars().any(char::is_control) {
        return Err(Error::invalid("name", Detail::new("project.name_length")));
    }
    let id = ProjectId::new();
    query::insert(conn, id, &new.slug, name, new.remote_url.as_deref()).await?;
    audit::record_in_txn(
        conn,
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

/// How long a new project's first fetch is waited for: small repositories are there at once, large ones appear when
/// they are.
const FIRST_FETCH: Duration = Duration::from_secs(5);

/// Makes a project and its repository. A remote is asked for its branches first, so that a wrong address is told at
/// once; it is then fetched for as long as that takes, by the reconciler too when this process ends.
pub async fn create(
    pool: &PgPool,
    repositories: &Repositories,
    actor: &Actor,
    new: &NewProject,
) -> Result<ProjectSummary> {
    let allow_file = repositories.git().settings().allow_file;
    let remote = new.remote_url.as_deref().map(|url| GitUrl::parse(url, allow_file)).transpose()?;
    if let Some(url) = &remote {
        let mut txn = access::begin_as(pool, actor).await?;
        authorise(&mut txn, actor, Action::CreateProject).await?;
        drop(txn);
        repositories.git().look_at(url).await?;
    }
    let mut txn = access::begin_as(pool, actor).await?;
    let id = create_in_txn(&mut txn, actor, new).await?;
    txn.commit().await?;
    if let Err(error) = repositories.create(id).await {
        // The project is there; the reconciler makes its repository within a minute.
        tracing::warn!(project = %id, %error, "the repository could not be made yet");
    }
    if let Some(url) = remote {
        let (pool, repositories, actor) = (pool.clone(), repositories.clone(), *actor);
        let fetch = tokio::spawn(async move {
            if let Err(error) = reconcile_project(&pool, &repositories, &actor, id, Some(&url)).await {
                tracing::warn!(project = %id, %error, "the first fetch failed; it is tried again");
            }
        });
        let _ = tokio::time::timeout(FIRST_FETCH, fetch).await;
    }
    let mut txn = access::begin_as(pool, actor).await?;
    find_by_slug(&mut txn, actor, &new.slug).await
}

/// What a host must have to do the project's runs. Those that wait ask for it too; what is under way stays where it is.
pub async fn set_labels_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    id: ProjectId,
    labels: &[String],
) -> Result<()> {
    authorise(conn, actor, Action::ConfigureProject(id)).await?;
    let labels = labels::checked(labels)?;
    sqlx::query!("select ops.set_project_labels($1, $2)", id.0, &labels)
        .fetch_one(&mut *conn)
        .await
        .map_err(|error| match sqlstate(&error).as_deref() {
            Some("P0002") => Error::not_found("project"),
            Some("42501") => Error::forbidden("access.role"),
            _ => error.into(),
        })?;
    let entry = audit::Entry {
        action: "project.labels",
        object_type: "project",
        object_id: id.to_string(),
        project: Some(id),
        detail: serde_json::json!({ "labels": labels }),
    };
    audit::record_in_txn(conn, entry).await
}
