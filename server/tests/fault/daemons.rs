//! kill -9 of the Docker daemon while a build is under way.

use crate::{
    ground::{Event, Ground, PATIENCE},
    others::{recovered, under_way, unharmed},
    seed::{self, Figures},
    traffic,
    workers::until_event,
};
use odooops::id::{EnvironmentId, RunId};
use rand::{Rng, rngs::StdRng};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep};

/// With live-restore the same containers run on; without, the next daemon starts them again.
const DAEMONS: [(&str, bool); 2] = [("docker-live-restore", true), ("docker-restart", false)];

pub async fn all(ground: &mut Ground) {
    for seed in seed::seeds() {
        for (point, live_restore) in DAEMONS.into_iter().filter(|(point, _)| seed::is_wanted(point)) {
            let begun = Instant::now();
            let outcome = killed(ground, live_restore, &mut seed::chance(point, seed)).await;
            seed::report(point, seed, begun.elapsed(), outcome);
        }
    }
}

async fn killed(ground: &mut Ground, live_restore: bool, chance: &mut StdRng) -> Result<Figures, String> {
    let before = ground.servers().await?;
    let began = started(ground, &before).await;
    let traffic = ground.traffic().await;
    // Without live-restore always inside a step that cannot be over yet; else anywhere, now and then in such a one.
    let inside = !live_restore || chance.random();
    let (what, run, other) =
        if inside { installing(ground, chance).await? } else { under_way(ground, chance).await };
    ground.daemon.kill().await;
    sleep(Duration::from_millis(chance.random_range(0..1500))).await;
    let accepted = ground.daemon.start_again(live_restore).await;
    let shown = shows(ground).await?.duration_since(accepted);
    let figures = recovered(ground, accepted, run, other, what).await?;
    let reasons = reasons(ground, run).await.map_err(|error| error.to_string())?;
    if let Some(other) = reasons.iter().find(|reason| *reason != "docker restarted") {
        return Err(format!("run {run} was tried again because {other:?}"));
    }
    if inside && reasons.is_empty() {
        return Err(format!("run {run} was installing when docker was killed, and no step failed for that"));
    }
    let after = ground.servers().await?;
    for (id, container) in before.iter().filter(|(id, _)| after.contains_key(id)) {
        if after[id] != *container {
            return Err(format!("the server of {id} was made again"));
        }
    }
    let now = started(ground, &after).await;
    let ran_on = began.iter().filter(|(id, _)| now.contains_key(*id)).all(|(id, at)| now[id] == *at);
    if ran_on != live_restore {
        return Err(format!("live-restore {live_restore}: servers were started {began:?}, then {now:?}"));
    }
    if live_restore {
        unharmed(traffic).await?;
    } else {
        traffic.stop().await;
    }
    Ok(Figures { serving: figures.serving.max(Some(shown)), ..figures })
}

/// A build whose installation prints, at most half way through.
async fn installing(
    ground: &mut Ground,
    chance: &mut StdRng,
) -> Result<(String, RunId, &'static str), String> {
    let first = chance.random_range(0..2);
    let (branch, other) = (["staging", "feature-x"][first], ["feature-x", "staging"][first]);
    let run = ground.build(branch).await;
    let is_step = |event: &Event| event.kind == "step_started" && event.step.as_deref() == Some("install");
    until_event(ground, run, is_step).await?;
    let delay = ground.usual["install"].mul_f64(chance.random_range(0.0..0.5));
    sleep(delay).await;
    Ok((format!("{branch} hit {} ms after it began to install", delay.as_millis()), run, other))
}

/// Why attempts were given up.
async fn reasons(ground: &Ground, run: RunId) -> Result<Vec<String>, sqlx::Error> {
    let reasons = sqlx::query_scalar!(
        r#"select payload ->> 'reason' as "reason!" from ops.run_events where run_id = $1 and type = 'retried'"#,
        run.0
    );
    reasons.fetch_all(&mut ground.installation.superuser().await?).await
}

async fn started(
    ground: &Ground,
    servers: &BTreeMap<EnvironmentId, String>,
) -> BTreeMap<EnvironmentId, Value> {
    let mut started = BTreeMap::new();
    for (id, container) in servers {
        let told = ground.daemon.get(&format!("/containers/{container}/json")).await;
        started.insert(*id, told["State"]["StartedAt"].clone());
    }
    started
}

/// When production answers.
async fn shows(ground: &Ground) -> Result<Instant, String> {
    let begun = Instant::now();
    let host = ground.production().await?;
    loop {
        let answer = traffic::get(ground.installation.address, &host, "/web/login").await;
        if answer == Ok(200) {
            return Ok(Instant::now());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("production does not come back: {answer:?}"));
        }
        sleep(Duration::from_millis(10)).await;
    }
}
