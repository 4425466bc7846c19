//! The demo project: what a newcomer sees first.

use super::{
    ProjectSummary, Slug,
    service::{NewProject, create, find_by_slug, list},
};
use crate::{
    Error, Result,
    access::{self, Action, Actor, authorise},
    branch::{BranchName, Stage, service::set_first_stage_in_txn},
    git::{Repositories, SeedCommit, reconcile_project},
    odoo::demo::files,
};
use sqlx::PgPool;

/// Makes the demo project when there is no project at all; its branches' builds start at once.
pub async fn create_demo(
    pool: &PgPool,
    repositories: &Repositories,
    actor: &Actor,
) -> Result<Option<ProjectSummary>> {
    let mut txn = access::begin_as(pool, actor).await?;
    authorise(&mut txn, actor, Action::CreateProject).await?;
    let none = list(&mut txn, actor).await?.is_empty();
    let now = sqlx::query_scalar!(r#"select extract(epoch from now())::bigint as "now!""#)
        .fetch_one(&mut *txn)
        .await?;
    txn.commit().await?;
    if !none {
        return Ok(None);
    }
    let slug = Slug::parse("demo")?;
    let new = NewProject { slug: slug.clone(), name: "Demo library".to_owned(), remote_url: None };
    let project = match create(pool, repositories, actor, &new).await {
        // Somebody else was faster.
        Err(Error::Invalid { .. }) => return Ok(None),
        created => created?,
    };
    let (main, staging, feature) =
        (BranchName::parse("main")?, BranchName::parse("staging")?, BranchName::parse("feature-x")?);
    let (first, second): (Vec<_>, Vec<_>) =
        files().iter().partition(|(path, _)| !path.starts_with("library_loan/"));
    let readme =
        files().iter().find(|(path, _)| *path == "README.md").map_or(&b""[..], |(_, content)| *content);
    let longer = [readme, b"\nThis branch is for trying things: push to it and watch the board.\n"].concat();
    let trial: [(&str, &[u8]); 1] = [("README.md", &longer)];
    let commit = |branch, from, message, time, files| SeedCommit { branch, from, message, time, files };
    let commits = [
        commit(&main, None, "Library: books, with views, rights and tests", now - 7200, &first[..]),
        commit(&main, None, "Library: loans extend books", now - 3600, &second[..]),
        commit(&staging, Some(&main), "Library: a release to try", now - 1800, &[]),
        commit(&feature, Some(&main), "Readme: what this branch is for", now - 600, &trial[..]),
    ];
    repositories.of(project.id).seed(&commits).await?;
    let mut txn = access::begin_as(pool, actor).await?;
    for (branch, stage) in [(&main, Stage::Production), (&staging, Stage::Staging)] {
        set_first_stage_in_txn(&mut txn, actor, project.id, branch, stage).await?;
    }
    txn.commit().await?;
    reconcile_project(pool, repositories, actor, project.id, None).await?;
    let mut txn = access::begin_as(pool, actor).await?;
    find_by_slug(&mut txn, actor, &slug).await.map(Some)
}
