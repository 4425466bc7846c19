//! Modules are installed, in development with demo data and tests, and the outcome is judged.

use super::{
    JobError,
    collect::{Collectors, Ended},
    database::Database,
    image::Image,
    progress::Progress,
    sources::Sources,
    start,
};
use crate::{
    docker::{LogRotation, names},
    environment::query::Environment,
    odoo::{
        fresh,
        judge::{Judge, Judgement, Verdict},
        launch, modules,
    },
};
use std::sync::{Arc, Mutex, PoisonError};

pub async fn run(
    progress: Progress<'_>,
    collectors: &Collectors,
    environment: &Environment,
    sources: &Sources,
    image: &Image,
    database: &Database,
) -> Result<(Judgement, String), JobError> {
    let shop = progress.shop;
    let wanted: Vec<String> = sources.addons.to_install().map(str::to_owned).collect();
    let tested: Vec<&str> = sources.addons.to_test().collect();
    let arguments = arguments(&database.login.database, &wanted, &tested, environment.stage.demo_and_tests());
    let name = names::container(environment.id, &format!("install-{}", progress.claim.lease));
    let mut spec = start::odoo_container(shop, progress.claim.id, environment, image, name, arguments);
    // No network at all: the database is a Unix socket.
    spec.network = None;
    spec.logs = LogRotation::Build { output_limit: shop.config.output_limit_bytes };
    let container = shop.docker.create_container(&spec).await?;
    shop.docker.start_container(&container).await?;

    let judge = Arc::new(Mutex::new(Judge::new(&wanted)));
    let feed = judge.clone();
    let tap = move |line: &str| feed.lock().unwrap_or_else(PoisonError::into_inner).feed(line);
    let ended = collectors.collect(progress.claim.id, &container, "install", tap).await?;
    if let Ended::OutputLimit = ended {
        return Err(JobError::fail("The build printed more than it may (output limit)."));
    }
    let exit = shop.docker.wait_container(&container).await?;
    // As the environment's own role: by now its code has run here, and what we read may be a view of its making.
    let mut conn = shop.tenants.connect_as(&database.login).await?;
    let states = modules::states(&mut conn).await.map_err(|error| JobError::retry(error.to_string()))?;
    drop(conn);
    shop.docker.remove_container(&container).await?;

    if exit.oom_killed {
        let limit = shop.config.environment_memory_mb;
        return Err(JobError::fail(format!(
            "The installation needed more than the {limit} MiB of memory it may use."
        )));
    }
    let judge =
        std::mem::replace(&mut *judge.lock().unwrap_or_else(PoisonError::into_inner), Judge::new(&[]));
    let judgement = judge.finish(Some(exit.code), &states);
    if judgement.verdict == Verdict::Red {
        return Err(JobError::Fail { message: judgement.summary, exit_code: i32::try_from(exit.code).ok() });
    }
    // Demo data brings users whose passwords everybody knows.
    let mut conn = shop.tenants.connect_as(&database.login).await?;
    fresh::replace_known_passwords(&mut conn, &database.admin, &wanted).await?;
    let note = judgement.summary.clone();
    Ok((judgement, note))
}

fn arguments(database: &str, wanted: &[String], tested: &[&str], demo_and_tests: bool) -> Vec<String> {
    let mut arguments: Vec<String> = [
        launch::config_option().as_str(),
        &format!("--database={database}"),
        "--stop-after-init",
        "--max-cron-threads=0",
        "--workers=0",
        "--http-interface=0.0.0.0",
    ]
    .map(str::to_owned)
    .to_vec();
    if !wanted.is_empty() {
        arguments.push(format!("--init={}", wanted.join(",")));
    }
    if demo_and_tests {
        arguments.push("--with-demo".to_owned());
        if !tested.is_empty() {
            // Only our own modules' tests: those of Odoo's are Odoo's business. Told to test where there is nothing
            // to test, it warns.
            let tags: Vec<String> = tested.iter().map(|module| format!("/{module}")).collect();
            arguments.push(format!("--test-tags={}", tags.join(",")));
        }
    }
    arguments
}
