//! kill -9 of everything else that a build needs while one is under way: the console, one PostgreSQL backend, the
//! clusters.

use crate::{
    belongings::{config, tenants},
    ground::{Ground, PATIENCE},
    seed::{self, Figures},
    traffic::Traffic,
    workers::claimed_again,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use odooops::id::RunId;
use rand::{Rng, rngs::StdRng};
use std::time::Duration;
use tokio::{
    net::UnixStream,
    time::{Instant, sleep},
};

const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Serve,
    /// One of the worker's.
    Backend,
    /// The ops database.
    Control,
    /// The environments' databases.
    Tenants,
    Both,
}

pub const VICTIMS: [(&str, Victim); 5] = [
    ("serve", Victim::Serve),
    ("postgres-backend", Victim::Backend),
    ("postgres-control", Victim::Control),
    ("postgres-tenants", Victim::Tenants),
    ("postgres-both", Victim::Both),
];

pub async fn all(ground: &mut Ground) {
    for seed in seed::seeds() {
        for (point, victim) in VICTIMS.into_iter().filter(|(point, _)| seed::is_wanted(point)) {
            let begun = Instant::now();
            let outcome = killed(ground, victim, &mut seed::chance(point, seed)).await;
            seed::report(point, seed, begun.elapsed(), outcome);
        }
    }
}

async fn killed(ground: &mut Ground, victim: Victim, chance: &mut StdRng) -> Result<Figures, String> {
    let traffic = ground.traffic().await;
    let (what, run, other) = under_way(ground, chance).await;
    strike(ground, victim).await;
    accepts(ground, victim).await?;
    let figures = recovered(ground, Instant::now(), run, other, what).await?;
    unharmed(traffic).await?;
    Ok(figures)
}

/// A build is under way, somewhere: where, its run, and another branch.
pub async fn under_way(ground: &mut Ground, chance: &mut StdRng) -> (String, RunId, &'static str) {
    let first = chance.random_range(0..2);
    let (branch, other) = (["staging", "feature-x"][first], ["feature-x", "staging"][first]);
    let run = ground.build(branch).await;
    let build: Duration = ground.usual.values().sum();
    let delay = build.mul_f64(chance.random_range(0.0..0.9));
    sleep(delay).await;
    let step = ground.events(run).await.ok().and_then(|events| events.last().cloned());
    let at = step.map_or(String::new(), |event| format!("{} {}", event.kind, event.step.unwrap_or_default()));
    (format!("{branch} hit after {at}"), run, other)
}

/// The console answers, another build is claimed, both end, and everything is as it should be.
pub async fn recovered(
    ground: &mut Ground,
    accepted: Instant,
    run: RunId,
    other: &str,
    what: String,
) -> Result<Figures, String> {
    let serving = serves(ground).await?.duration_since(accepted);
    let second = ground.build(other).await;
    let claiming = claimed_again(ground, second, 0).await?.duration_since(accepted);
    for run in [run, second] {
        let ended = ground.ended(run).await?;
        let forgiven = ended == "failed" && ground.forgiven.contains(&run);
        if ended != "succeeded" && !forgiven {
            return Err(format!("run {run} ended as {ended}"));
        }
    }
    ground.settled().await?;
    Ok(Figures { what, serving: Some(serving), claiming: Some(claiming) })
}

/// Not one request to production failed meanwhile.
pub async fn unharmed(traffic: Traffic) -> Result<(), String> {
    let (sent, failed) = traffic.stop().await;
    match failed.first() {
        None => Ok(()),
        Some(first) => {
            Err(format!("{} of {sent} requests to production failed, first {first}", failed.len()))
        }
    }
}

async fn strike(ground: &Ground, victim: Victim) {
    let installation = &ground.installation;
    match victim {
        Victim::Serve => installation.kill("serve", Signal::SIGKILL).await,
        Victim::Control => installation.kill_cluster("control").await,
        Victim::Tenants => installation.kill_cluster("tenants").await,
        Victim::Both => {
            tokio::join!(installation.kill_cluster("control"), installation.kill_cluster("tenants"));
        }
        Victim::Backend => {
            let mut conn = installation.superuser().await.unwrap();
            let pid = sqlx::query_scalar!(
                r#"select pid as "pid!" from pg_catalog.pg_stat_activity
                   where usename = 'ops_worker' and application_name = 'ops worker' order by random() limit 1"#
            );
            let pid = pid.fetch_one(&mut conn).await.unwrap();
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            // The postmaster ends all others because of it: this one, too.
            while sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(&mut conn).await.is_ok() {
                sleep(LOOK).await;
            }
        }
    }
}

/// Waits until what was killed takes connections again.
async fn accepts(ground: &Ground, victim: Victim) -> Result<(), String> {
    let begun = Instant::now();
    let installation = &ground.installation;
    let control = async || installation.superuser().await.is_ok();
    let tenants = async || tenants(installation, "postgres").await.is_some();
    let serve = config(installation).serve_socket();
    loop {
        let accepts = match victim {
            Victim::Serve => UnixStream::connect(&serve).await.is_ok(),
            Victim::Backend | Victim::Control => control().await,
            Victim::Tenants => tenants().await,
            Victim::Both => control().await && tenants().await,
        };
        if accepts {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{victim:?} does not come back"));
        }
        sleep(LOOK).await;
    }
}

/// When the console answers through the proxy and is ready.
pub async fn serves(ground: &Ground) -> Result<Instant, String> {
    let begun = Instant::now();
    let installation = &ground.installation;
    loop {
        let answer = crate::traffic::get(installation.address, &installation.base_domain, "/readyz").await;
        if answer == Ok(200) {
            return Ok(Instant::now());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("the console does not come back: {answer:?}"));
        }
        sleep(LOOK).await;
    }
}
