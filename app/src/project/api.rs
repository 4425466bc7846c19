#[cfg(feature = "ssr")]
use crate::request::{Visitor, answer, go_on_at};
use crate::{codec::Json, error::Fault};
use leptos::{prelude::*, server_fn::codec::GetUrl};
#[cfg(feature = "ssr")]
use odooops::project::service;
use odooops::project::{ProjectSummary, Slug};

#[server(prefix = "/api/console", endpoint = "projects", input = GetUrl, output = Json)]
pub async fn projects() -> Result<Vec<ProjectSummary>, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            service::list(&mut txn, &visitor.actor).await
        }
        .await,
    )
}

/// `slug` comes as it was typed, so that what is wrong with it can be said beside its field.
#[server(prefix = "/api/console", endpoint = "project/create", output = Json)]
pub async fn create_project(name: String, slug: String, remote_url: Option<String>) -> Result<Slug, Fault> {
    answer(
        async {
            let Visitor { state, actor } = Visitor::require()?;
            let remote_url = remote_url.map(|url| url.trim().to_owned()).filter(|url| !url.is_empty());
            let new = service::NewProject { slug: Slug::parse(slug.trim())?, name, remote_url };
            let made = service::create(&state.pool, &state.repositories, &actor, &new).await?;
            go_on_at(&format!("/projects/{}", made.slug));
            Ok(made.slug)
        }
        .await,
    )
}
