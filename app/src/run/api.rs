#[cfg(feature = "ssr")]
use crate::request::{Visitor, answer, go_on_at};
use crate::{codec::Json, error::Fault};
use leptos::{prelude::*, server_fn::codec::GetUrl};
use odooops::{
    id::{EnvironmentId, RunId},
    project::Slug,
    run::{Attempt, Event, RunSummary, RunView},
};

/// One build with its steps.
#[server(prefix = "/api/console", endpoint = "run", input = GetUrl, output = Json)]
pub async fn run(id: RunId) -> Result<RunView, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            odooops::run::service::view(&mut txn, &visitor.actor, id, &visitor.state.urls).await
        }
        .await,
    )
}

/// How many builds the grid shows.
pub const LATEST: i64 = 500;

/// The latest builds of a project, newest first.
#[server(prefix = "/api/console", endpoint = "runs", input = GetUrl, output = Json)]
pub async fn runs(project: Slug) -> Result<Vec<RunSummary>, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            odooops::run::service::list(&mut txn, &visitor.actor, &project, LATEST).await
        }
        .await,
    )
}

/// Builds the branch of a build again.
#[server(prefix = "/api/console", endpoint = "run/rebuild", output = Json)]
pub async fn rebuild_run(id: RunId) -> Result<RunId, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            let (slug, run) =
                odooops::branch::service::rebuild_of_run_in_txn(&mut txn, &visitor.actor, id).await?;
            txn.commit().await?;
            go_on_at(&format!("/projects/{slug}/builds/{run}"));
            Ok(run)
        }
        .await,
    )
}

/// Every try of a run, the first first.
#[server(name = LoadAttempts, prefix = "/api/console", endpoint = "run/attempts", input = GetUrl, output = Json)]
pub async fn attempts(id: RunId) -> Result<Vec<Attempt>, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            odooops::run::service::attempts(&mut txn, &visitor.actor, id).await
        }
        .await,
    )
}

/// Everything that happened to a run, in order.
#[server(name = LoadEvents, prefix = "/api/console", endpoint = "run/events", input = GetUrl, output = Json)]
pub async fn events(id: RunId) -> Result<Vec<Event>, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            odooops::run::service::events(&mut txn, &visitor.actor, id).await
        }
        .await,
    )
}

/// Does a run that has ended once more: the same commit.
#[server(prefix = "/api/console", endpoint = "run/retry", output = Json)]
pub async fn retry_run(id: RunId) -> Result<RunId, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            let (slug, run) = odooops::run::service::retry_in_txn(&mut txn, &visitor.actor, id).await?;
            txn.commit().await?;
            go_on_at(&format!("/projects/{slug}/builds/{run}"));
            Ok(run)
        }
        .await,
    )
}

/// How to sign in to an environment's Odoo as its administrator. A POST: that somebody asked is written down.
#[server(prefix = "/api/console", endpoint = "environment/admin-password", output = Json)]
pub async fn admin_password(id: EnvironmentId) -> Result<String, Fault> {
    answer(
        async {
            let Visitor { state, actor } = Visitor::require()?;
            let reach = state.reach()?;
            let password =
                odooops::environment::service::admin_password(&state.pool, &actor, id, &reach).await?;
            Ok(secrecy::ExposeSecret::expose_secret(&password).to_owned())
        }
        .await,
    )
}

/// Ends a build: at once while it waits, within two seconds once a worker has it.
#[server(prefix = "/api/console", endpoint = "run/cancel", output = Json)]
pub async fn cancel_run(id: RunId) -> Result<(), Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            odooops::run::service::cancel_in_txn(&mut txn, &visitor.actor, id).await?;
            let run = odooops::run::service::view(&mut txn, &visitor.actor, id, &visitor.state.urls).await?;
            txn.commit().await?;
            go_on_at(&format!("/projects/{}/builds/{id}", run.project_slug));
            Ok(())
        }
        .await,
    )
}
