//! kill -9 of the worker at every step of a build, between them, and while it finishes.

use crate::{
    ground::{Event, Ground, PATIENCE, events},
    others::unharmed,
    seed::{self, Figures},
};
use nix::sys::signal::{Signal, kill};
use odooops::{id::RunId, run::Step};
use rand::{Rng, rngs::StdRng};
use sqlx::PgConnection;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOOK: Duration = Duration::from_millis(2);

/// When the worker is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Between the claim and the first step.
    Claim,
    /// While a template database is made, which happens once for an image.
    Template,
    During(&'static str),
    /// Right after some step.
    Between,
    /// Around the transaction that publishes and ends the run.
    Finish,
    /// It has ended; what it replaces is being taken away.
    Ended,
}

pub const MOMENTS: [(&str, Moment); 12] = [
    ("worker-claim", Moment::Claim),
    ("worker-template", Moment::Template),
    ("worker-sources", Moment::During("sources")),
    ("worker-image", Moment::During("image")),
    ("worker-database", Moment::During("database")),
    ("worker-install", Moment::During("install")),
    ("worker-start", Moment::During("start")),
    ("worker-gate", Moment::During("gate")),
    ("worker-route", Moment::During("route")),
    ("worker-between", Moment::Between),
    ("worker-finish", Moment::Finish),
    ("worker-ended", Moment::Ended),
];

pub async fn all(ground: &mut Ground) {
    for step in Step::ALL {
        let is_hit =
            |(_, moment): &(&str, Moment)| matches!(moment, Moment::During(name) if *name == step.as_str());
        assert!(MOMENTS.iter().any(is_hit), "no point kills a worker inside the step {}", step.as_str());
    }
    for seed in seed::seeds() {
        for (point, moment) in MOMENTS.into_iter().filter(|(point, _)| seed::is_wanted(point)) {
            let begun = Instant::now();
            let outcome = killed(ground, moment, &mut seed::chance(point, seed)).await;
            seed::report(point, seed, begun.elapsed(), outcome);
        }
    }
}

async fn killed(ground: &mut Ground, moment: Moment, chance: &mut StdRng) -> Result<Figures, String> {
    let traffic = ground.traffic().await;
    let branch = ["staging", "feature-x"][chance.random_range(0..2)];
    let worker = ground.installation.is_back("work").await;
    if moment == Moment::Template {
        ground.other_image(chance.random()).await;
    }
    let run = ground.build(branch).await;
    let held = if moment == Moment::Finish && chance.random() {
        // From here on the build only looks at environments, until it publishes its own.
        until_event(ground, run, |event| event.step.as_deref() == Some("gate")).await?;
        Some(hold_environments(ground).await?)
    } else {
        None
    };
    let delay = reached(ground, run, moment, chance).await?;
    sleep(delay).await;
    kill(worker, Signal::SIGKILL).map_err(|error| error.to_string())?;
    let inside = if held.is_some() { ", inside the transaction" } else { "" };
    drop(held);
    let hit = ground.events(run).await.map_err(|error| error.to_string())?;
    let back = loop {
        let pid = ground.installation.is_back("work").await;
        if pid != worker {
            break Instant::now();
        }
        sleep(LOOK).await;
    };
    let status = ground.status(run).await.map_err(|error| error.to_string())?;
    let claiming = if ["claimed", "running", "queued"].contains(&status.as_str()) {
        Some(claimed_again(ground, run, hit.len()).await?.duration_since(back))
    } else {
        None
    };
    let ended = ground.ended(run).await?;
    if ended != "succeeded" {
        return Err(format!("the run ended as {ended}"));
    }
    ground.settled().await?;
    unharmed(traffic).await?;
    let at =
        hit.last().map_or(String::new(), |e| format!("{} {}", e.kind, e.step.clone().unwrap_or_default()));
    Ok(Figures {
        what: format!("{branch} hit {} ms after {at}{inside}", delay.as_millis()),
        serving: None,
        claiming,
    })
}

/// Whoever changes an environment waits from now on until the connection is dropped: the transaction that publishes one.
async fn hold_environments(ground: &Ground) -> Result<PgConnection, String> {
    let mut conn = ground.installation.superuser().await.map_err(|error| error.to_string())?;
    sqlx::raw_sql("begin; lock table ops.environments in share row exclusive mode")
        .execute(&mut conn)
        .await
        .map_err(|error| error.to_string())?;
    Ok(conn)
}

/// Waits until the moment is there, and says how long to wait on inside it.
async fn reached(
    ground: &Ground,
    run: RunId,
    moment: Moment,
    chance: &mut StdRng,
) -> Result<Duration, String> {
    let steps = ["sources", "image", "database", "install", "start", "gate"];
    let between = steps[chance.random_range(0..steps.len())];
    let is =
        |event: &Event, kind: &str, step: &str| event.kind == kind && event.step.as_deref() == Some(step);
    let wanted = |event: &Event| match moment {
        Moment::Claim => event.kind == "claimed",
        Moment::During(step) => is(event, "step_started", step),
        Moment::Between => is(event, "step_finished", between),
        Moment::Finish => is(event, "step_started", "route"),
        Moment::Ended => event.kind == "succeeded",
        Moment::Template => is(event, "step_started", "database"),
    };
    let longest = match moment {
        Moment::Claim | Moment::Between | Moment::Finish => Duration::from_millis(5),
        Moment::During(step) => ground.usual[step].max(Duration::from_millis(2)),
        Moment::Ended => Duration::from_millis(300),
        Moment::Template => Duration::from_millis(1500),
    };
    until_event(ground, run, wanted).await?;
    Ok(longest.mul_f64(chance.random_range(0.0..1.0)))
}

pub async fn until_event(
    ground: &Ground,
    run: RunId,
    wanted: impl Fn(&Event) -> bool,
) -> Result<Vec<Event>, String> {
    let begun = Instant::now();
    let mut conn = ground.installation.superuser().await.ok();
    loop {
        match &mut conn {
            Some(open) => match events(open, run).await {
                Ok(events) if events.iter().any(&wanted) => return Ok(events),
                Ok(_) => {}
                Err(_) => conn = None,
            },
            None => conn = ground.installation.superuser().await.ok(),
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("run {run} does not come so far"));
        }
        sleep(LOOK).await;
    }
}

/// When the run was claimed after the first `seen` events.
pub async fn claimed_again(ground: &Ground, run: RunId, seen: usize) -> Result<Instant, String> {
    let begun = Instant::now();
    loop {
        if let Ok(events) = ground.events(run).await
            && events.iter().skip(seen).any(|event| event.kind == "claimed")
        {
            return Ok(Instant::now());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("run {run} is not claimed again"));
        }
        sleep(LOOK).await;
    }
}
