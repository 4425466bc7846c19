//! A build: from a commit to a running, judged Odoo. Where it succeeds, its last step ends the run.

use super::{
    JobError, Workshop,
    collect::Collectors,
    database, gate, image, install,
    progress::Progress,
    remove::{self, Patience},
    route, sources, start,
};
use crate::{
    environment::{self, query::Environment},
    odoo::judge::Verdict,
    queue::{self, Claim},
    run::{LogLevel, RunStatus, Step},
};
use std::time::Duration;

pub async fn build(shop: &Workshop, collectors: &Collectors, claim: &Claim) -> Result<(), JobError> {
    let progress = Progress { shop, claim };
    let mut txn = shop.pool.begin().await?;
    let environment = environment::query::create_for_run(&mut txn, claim).await?;
    let limit = i64::try_from(shop.config.output_limit_bytes).unwrap_or(i64::MAX);
    queue::set_output_limit(&mut txn, claim, Some(limit)).await?;
    txn.commit().await?;
    // Of an attempt that was cut off. What it printed and nobody had read stands before this attempt's lines.
    let patience = Patience::Attempt(Duration::from_secs(shop.config.build_timeout_seconds));
    remove::remains_of(shop, collectors, &environment, patience).await?;
    if claim.attempt > 1 {
        let line = format!("Attempt {} of 3.", claim.attempt);
        progress.log("system", LogLevel::Info, &line).await?;
    }

    let witness = shop.tenants.witness().await?;
    match steps(progress, collectors, &environment).await {
        // Odoo fails without its database, and a server that does not answer says nothing of the commit.
        Err(JobError::Fail { message, .. }) if witness.was_interrupted().await => {
            Err(JobError::retry(format!("the environments' cluster was interrupted: {message}")))
        }
        outcome => outcome,
    }
}

async fn steps(
    progress: Progress<'_>,
    collectors: &Collectors,
    environment: &Environment,
) -> Result<(), JobError> {
    let claim = progress.claim;
    let sources = progress.step(Step::Sources, sources::check_out(progress, environment)).await?;
    let image = progress.step(Step::Image, image::prepare(progress, &sources)).await?;
    let mut txn = progress.shop.pool.begin().await?;
    queue::hold(&mut txn, claim).await?;
    environment::query::set_image(&mut txn, environment.id, &image.name).await?;
    txn.commit().await?;
    let database =
        progress.step(Step::Database, database::create(progress, collectors, environment, &sources)).await?;
    let installed = install::run(progress, collectors, environment, &sources, &image, &database);
    let judgement = progress.step(Step::Install, installed).await?;
    let server = progress.step(Step::Start, start::run(progress, environment, &image)).await?;
    collectors.follow(claim.id, &server.id);
    progress.step(Step::Gate, gate::pass(progress, environment, &server)).await?;
    let status = match judgement.verdict {
        Verdict::Green => RunStatus::Succeeded,
        // A red judgement ended the install step.
        Verdict::Yellow | Verdict::Red => RunStatus::Warning,
    };
    route::publish(progress, environment, &image, &server, status).await
}
