//! Two machines that both work, each with a Docker daemon, a cluster for environments and a data directory of its own.
//! The second one has more memory free, so builds go there; in the middle of one it is cut off from the ops database
//! for longer than a lease. The first one takes the run over and ends it, and then the second one comes back.

use crate::{
    belongings::Belongings,
    daemon::Daemon,
    ground::{Event, Ground, PATIENCE},
    installation::docker,
    network::{CUT, End, Relay, Way},
    seed::{self, Figures},
    small_image,
    workers::{claimed_again, until_event},
};
use odooops::{docker::Docker, id::RunId};
use rand::{Rng, rngs::StdRng};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
    time::{Instant, sleep},
};

const POINT: &str = "host-cut-off";
const NAME: &str = "second";
const LOOK: Duration = Duration::from_millis(20);

pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The machine that joined.
pub struct Second {
    data: PathBuf,
    docker: Docker,
    /// Its only way to the console's machine.
    way: Relay,
    _daemon: Daemon,
    _up: Child,
    _followers: Vec<JoinHandle<()>>,
}

impl Second {
    /// `node` is where the first machine listens for others.
    pub async fn join(ground: &Ground, scratch: &Path, node: SocketAddr) -> Self {
        let folder = scratch.join(NAME);
        fs::create_dir(&folder).unwrap();
        // The user that PostgreSQL runs as goes through it.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).unwrap();
        let daemon = Daemon::start_in(scratch, &folder, true).await;
        let image = small_image::import(&daemon, "1").await;
        let followers = vec![ground.ledger.follow(&daemon), ground.outputs.keep(&daemon)];
        let way = Relay::to(End::Tcp(node)).await;
        let data = folder.join("data");
        let flags = [
            format!("--data-dir={}", data.display()),
            format!("--base-domain={}", ground.installation.base_domain),
            format!("--node-listen={}", free()),
            format!("--docker-host=unix://{}", daemon.socket().display()),
            format!("--odoo-image={image}"),
            format!("--odoo-build-image={image}"),
            // Both are one machine to the kernel, and their networks may not be the same.
            "--environment-subnets=10.214.0.0/16".to_owned(),
        ];
        let ops = env!("CARGO_BIN_EXE_ops");
        let mut ask = Command::new(ops);
        ask.args(["worker", "token", "--name", NAME, "--data-dir"]).arg(&ground.installation.data);
        let said = succeeded(&mut ask).await;
        let line = said.lines().find_map(|line| line.trim().strip_prefix("ops worker join ")).unwrap();
        // What was printed names the way that cannot be cut.
        let told = line.split_whitespace().skip(1);
        let mut join = Command::new(ops);
        join.args(["worker", "join", &format!("https://{}", way.address)]).args(told).args(&flags);
        succeeded(&mut join).await;
        let up = plentiful(&folder, ops).arg("up").args(&flags).stdin(Stdio::null()).spawn().unwrap();
        let docker = docker(&data, &daemon.socket()).await.unwrap();
        let second = Self { data, docker, way, _daemon: daemon, _up: up, _followers: followers };
        second.works(ground).await;
        second
    }

    /// Until it says that it is there, with more memory free than the first.
    async fn works(&self, ground: &Ground) {
        let begun = Instant::now();
        let mut conn = ground.installation.superuser().await.unwrap();
        loop {
            let free = sqlx::query_scalar!(
                r#"select coalesce(b.memory_free_bytes > max(o.memory_free_bytes) + b.memory_total_bytes / 10, false) as "more!"
                   from ops.workers w join ops.hosts h on h.id = w.host_id
                   join ops.worker_heartbeats b on b.worker_id = w.id
                   join ops.worker_heartbeats o on o.worker_id <> w.id
                   where h.name = $1 and b.at > clock_timestamp() - interval '3 seconds'
                   group by b.memory_free_bytes, b.memory_total_bytes"#,
                NAME
            );
            if free.fetch_optional(&mut conn).await.unwrap() == Some(true) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the second host does not come");
            sleep(LOOK).await;
        }
    }

    /// Waits until nothing of any environment is left there. What may be people's data goes to quarantine.
    async fn is_empty(&self) -> Result<(), String> {
        let (begun, nothing) = (Instant::now(), Belongings::of(&BTreeSet::new()));
        loop {
            let found = Belongings::look_in(&self.data, &self.docker).await.map(Belongings::in_place);
            let containers = self.docker.containers().await.map_err(|error| error.to_string())?;
            if found.as_ref() == Some(&nothing) && containers.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("on the host that was cut off is left: {found:#?}, {containers:#?}"));
            }
            sleep(LOOK).await;
        }
    }
}

async fn succeeded(command: &mut Command) -> String {
    let done = command.env_remove("OPS_URL").stdin(Stdio::null()).output().await.unwrap();
    let (said, complained) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}: {said}{complained}");
    said
}

/// A program that sees four times the memory that there is.
fn plentiful(folder: &Path, program: &str) -> Command {
    let real = fs::read_to_string("/proc/meminfo").unwrap();
    let kib = |name: &str| {
        let line = real.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap()
    };
    let total = kib("MemTotal:") * 4;
    let file = folder.join("meminfo");
    fs::write(&file, format!("MemTotal: {total} kB\nMemFree: {total} kB\nMemAvailable: {total} kB\n"))
        .unwrap();
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" /proc/meminfo && exec \"$@\"";
    command.args(["--mount", "--", "sh", "-c", script]).arg(file).arg(program);
    command
}

pub async fn all(ground: &mut Ground, second: &Second) {
    for seed in seed::seeds() {
        if seed::is_wanted(POINT) {
            let begun = Instant::now();
            let outcome = cut_off(ground, second, &mut seed::chance(POINT, seed)).await;
            seed::report(POINT, seed, begun.elapsed(), outcome);
        }
    }
}

async fn cut_off(ground: &mut Ground, second: &Second, chance: &mut StdRng) -> Result<Figures, String> {
    let branch = ["staging", "feature-x"][chance.random_range(0..2)];
    let (way, break_off) =
        if chance.random() { (Way::Silent, chance.random()) } else { (Way::Refused, true) };
    second.works(ground).await;
    let run = ground.build(branch).await;
    // Both wait for work: it goes where more memory is free.
    let began = |event: &Event| event.kind == "step_started" && event.step.as_deref() == Some("sources");
    until_event(ground, run, began).await?;
    if holder(ground, run).await? != NAME {
        return Err(format!("run {run} went to the host with less memory free"));
    }
    // The first build there makes its template database, which is a good place too.
    let build: Duration = ground.usual.values().sum();
    sleep(build.mul_f64(chance.random_range(0.0..0.8))).await;
    second.way.set(way, way == Way::Refused);
    let cut = Instant::now();
    let hit = ground.events(run).await.map_err(|error| error.to_string())?;
    if ground.status(run).await.map_err(|error| error.to_string())? != "running" {
        return Err(format!("run {run} was over before its host was cut off"));
    }
    claimed_again(ground, run, hit.len()).await?;
    let ended = ground.ended(run).await?;
    let ended_by = holder(ground, run).await?;
    if ended != "succeeded" || ended_by == NAME {
        return Err(format!("run {run} ended as {ended} by {ended_by}"));
    }
    sleep(CUT.saturating_sub(cut.elapsed())).await;
    let before = facts(ground, run).await?;
    second.way.set(Way::Open, break_off);
    second.works(ground).await;
    second.is_empty().await?;
    let after = facts(ground, run).await?;
    if before != after {
        return Err(format!("the host that came back changed {before:#} to {after:#}"));
    }
    // With every line of both hosts' containers, and none twice.
    ground.settled().await?;
    let at =
        hit.last().map_or(String::new(), |e| format!("{} {}", e.kind, e.step.clone().unwrap_or_default()));
    let what = format!("{branch} cut off after {at}, {way:?}{}", if break_off { ", broken off" } else { "" });
    Ok(Figures { what, serving: None, claiming: None })
}

/// The host whose worker has, or had, the run.
async fn holder(ground: &Ground, run: RunId) -> Result<String, String> {
    let mut conn = ground.installation.superuser().await.map_err(|error| error.to_string())?;
    let holder = sqlx::query_scalar!(
        "select h.name from ops.runs r join ops.workers w on w.id = r.worker_id join ops.hosts h on h.id = w.host_id
         where r.id = $1",
        run.0
    );
    holder.fetch_one(&mut conn).await.map_err(|error| error.to_string())
}

/// What is true of the run, its attempts, what happened to it and what it built.
async fn facts(ground: &Ground, run: RunId) -> Result<Value, String> {
    let mut conn = ground.installation.superuser().await.map_err(|error| error.to_string())?;
    let facts = sqlx::query_scalar!(
        r#"select jsonb_build_object(
               'run', to_jsonb(r),
               'attempts', (select jsonb_agg(to_jsonb(a) order by to_jsonb(a)::text) from ops.run_attempts a where a.run_id = r.id),
               'events', (select jsonb_agg(to_jsonb(e) order by e.id) from ops.run_events e where e.run_id = r.id),
               'environments', (select jsonb_agg(to_jsonb(e) order by e.id) from ops.environments e where e.run_id = r.id)
           ) as "facts!"
           from ops.runs r where r.id = $1"#,
        run.0
    );
    facts.fetch_one(&mut conn).await.map_err(|error| error.to_string())
}
