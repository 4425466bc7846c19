//! An installation with a daemon and the small image of its own, ready to be broken, and the check that it is whole.

use crate::{
    belongings::{Belongings, config, tenants},
    daemon::Daemon,
    installation::{Installation, Setting},
    ledger::{Ledger, Life},
    outputs::{Output, Outputs},
    said::{self, Line},
    small_image,
    traffic::Traffic,
};
use odooops::{
    docker::Docker,
    id::{EnvironmentId, RunId},
    postgres::database_name,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Mutex,
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// Ten times what is promised, and what a slow machine needs besides.
pub const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

pub struct Ground {
    pub installation: Installation,
    pub daemon: Daemon,
    pub docker: Docker,
    pub ledger: Ledger,
    /// What all containers printed.
    pub outputs: Outputs,
    /// Runs that may end as failed, with the platform named as the reason.
    pub forgiven: BTreeSet<RunId>,
    /// How long each step takes when nothing is broken.
    pub usual: BTreeMap<String, Duration>,
    /// A branch's last acknowledged run.
    pub last: BTreeMap<String, RunId>,
    /// Runs that were found right and of which nothing runs.
    checked: Mutex<BTreeSet<RunId>>,
    followers: Vec<JoinHandle<()>>,
}

/// One event of a run.
#[derive(Debug, Clone)]
pub struct Event {
    pub kind: String,
    pub step: Option<String>,
}

impl Ground {
    /// `plan` names what is special: flags, variables, disks.
    pub async fn prepare(scratch: &Path, plan: Setting) -> Self {
        let daemon = Daemon::start(scratch, true).await;
        let image = small_image::import(&daemon, "1").await;
        let ledger = Ledger::open(scratch);
        let outputs = Outputs::default();
        let followers = vec![ledger.follow(&daemon), outputs.keep(&daemon)];
        let mut flags = vec![format!("--odoo-image={image}"), format!("--odoo-build-image={image}")];
        flags.push("--worker-concurrency=2".to_owned());
        flags.extend(plan.flags.iter().cloned());
        let setting = Setting { docker: daemon.socket(), flags, within: Some(scratch.to_owned()), ..plan };
        let installation = Installation::start_with(setting).await;
        let docker = installation.docker().await.unwrap();
        let mut ground = Self {
            installation,
            daemon,
            docker,
            ledger,
            outputs,
            forgiven: BTreeSet::new(),
            usual: BTreeMap::new(),
            last: BTreeMap::new(),
            checked: Mutex::default(),
            followers,
        };
        ground.first_builds().await;
        ground
    }

    /// The demo project's: they tell how long things take here.
    async fn first_builds(&mut self) {
        let mut conn = self.installation.superuser().await.unwrap();
        let rows = sqlx::query!(
            r#"select r.id, b.name from ops.runs r join ops.branches b on b.id = r.branch_id order by r.queued_at"#
        );
        for row in rows.fetch_all(&mut conn).await.unwrap() {
            self.acknowledged(&row.name, row.id.into());
        }
        self.settled().await.unwrap();
        // Once more each: the first ones made the templates.
        for branch in ["staging", "feature-x"] {
            let run = self.build(branch).await;
            self.ended(run).await.unwrap();
            self.learn(&mut conn, run).await;
        }
        self.settled().await.unwrap();
    }

    async fn learn(&mut self, conn: &mut PgConnection, run: RunId) {
        let rows = sqlx::query!(
            r#"select payload ->> 'step' as "step!", (payload ->> 'duration_ms')::int as "ms!"
               from ops.run_events where run_id = $1 and type = 'step_finished'"#,
            run.0
        );
        for row in rows.fetch_all(conn).await.unwrap() {
            let took = Duration::from_millis(u64::try_from(row.ms).unwrap());
            let usual = self.usual.entry(row.step).or_default();
            *usual = took.max(*usual);
        }
    }

    fn acknowledged(&mut self, branch: &str, run: RunId) {
        self.ledger.note("run", json!({ "run": run.to_string(), "branch": branch }));
        self.last.insert(branch.to_owned(), run);
    }

    pub fn api(&self) -> Client {
        Client::builder()
            .unix_socket(config(&self.installation).ops_socket())
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap()
    }

    /// Asks for a build of a branch, as a person would; once it is acknowledged, the ledger knows.
    pub async fn build(&mut self, branch: &str) -> RunId {
        let run = self.last[branch];
        let begun = Instant::now();
        loop {
            let request = self.api().request(Method::POST, format!("http://ops/api/v1/runs/{run}/rebuild"));
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    let queued: Value = answer.json().await.unwrap();
                    let id: RunId = queued["run_id"].as_str().unwrap().parse().unwrap();
                    self.acknowledged(branch, id);
                    return id;
                }
                // Refused or lost: nothing was acknowledged, though something may be queued.
                other => assert!(begun.elapsed() < PATIENCE, "no build is taken: {other:?}"),
            }
            sleep(LOOK).await;
        }
    }

    /// The image is another from now on, so that the next build makes its template database first.
    pub async fn other_image(&self, number: u32) {
        small_image::import_as(&self.daemon, "1", &number.to_string()).await;
    }

    pub async fn events(&self, run: RunId) -> Result<Vec<Event>, sqlx::Error> {
        events(&mut self.installation.superuser().await?, run).await
    }

    /// Waits for the run's end: its status.
    pub async fn ended(&self, run: RunId) -> Result<String, String> {
        let begun = Instant::now();
        loop {
            let status = self.status(run).await;
            if let Ok(status) = &status
                && !["queued", "claimed", "running"].contains(&status.as_str())
            {
                return Ok(status.clone());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("run {run} does not end: {status:?}"));
            }
            sleep(LOOK).await;
        }
    }

    pub async fn status(&self, run: RunId) -> Result<String, sqlx::Error> {
        let mut conn = self.installation.superuser().await?;
        sqlx::query_scalar!("select status from ops.runs where id = $1", run.0).fetch_one(&mut conn).await
    }

    /// The host name of the environment that no fault test builds again.
    pub async fn production(&self) -> Result<String, String> {
        let mut conn = self.installation.superuser().await.map_err(|error| error.to_string())?;
        let host = sqlx::query_scalar!(
            "select e.hostname from ops.environments e join ops.branches b on b.id = e.branch_id
             where b.name = 'main' and e.state = 'running'"
        );
        let host = host.fetch_one(&mut conn).await.map_err(|error| error.to_string())?;
        Ok(format!("{host}.{}", self.installation.base_domain))
    }

    /// Requests to production without pause.
    pub async fn traffic(&self) -> Traffic {
        Traffic::start(self.installation.address, &self.production().await.unwrap())
    }

    /// Waits until every acknowledged run has ended in a state that is true, and there is what the running
    /// environments consist of and nothing else; then checks what never may have happened.
    pub async fn settled(&self) -> Result<(), String> {
        let begun = Instant::now();
        let environments = loop {
            let why = match self.whole().await {
                Ok(environments) => break environments,
                Err(why) => why,
            };
            if begun.elapsed() > PATIENCE {
                return Err(format!("it does not settle: {why}"));
            }
            sleep(LOOK).await;
        };
        for (id, hostname) in &environments {
            self.installation
                .until(&format!("{hostname}.{}", self.installation.base_domain), "/web/login", 200)
                .await;
            self.installed_once(*id).await?;
        }
        for (id, container) in self.servers().await? {
            self.is_collected(id, &container).await?;
        }
        self.nothing_twice_nor_lost().await
    }

    /// What the server has printed by now is stored soon: whoever collected it does so again.
    async fn is_collected(&self, id: EnvironmentId, container: &str) -> Result<(), String> {
        let mut conn = self.installation.superuser().await.map_err(|error| error.to_string())?;
        let run = sqlx::query_scalar!(r#"select run_id as "run!" from ops.environments where id = $1"#, id.0);
        let run = RunId::from(run.fetch_one(&mut conn).await.map_err(|error| error.to_string())?);
        let number = |outputs: &[Output], stored: &dyn Fn(usize) -> usize| {
            let server = outputs.iter().enumerate().find(|(_, output)| output.id == container);
            server.map(|(at, output)| output.last_number(stored(at)))
        };
        let printed = number(&self.outputs.of(run), &|_| usize::MAX);
        let printed = printed.ok_or(format!("what environment {id} printed was not kept"))?;
        let begun = Instant::now();
        loop {
            let (outputs, parts) = self.log_of(&mut conn, run).await?;
            let stored = number(&outputs, &|at| parts[at]).unwrap_or_default();
            if stored >= printed {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("environment {id} printed line {printed}, stored is line {stored}"));
            }
            sleep(LOOK * 5).await;
        }
    }

    async fn whole(&self) -> Result<BTreeMap<EnvironmentId, String>, String> {
        let failed = |error: sqlx::Error| error.to_string();
        let mut conn = self.installation.superuser().await.map_err(failed)?;
        for run in self.ledger.runs() {
            let id: RunId = run.parse().unwrap();
            let row = sqlx::query!(
                "select r.status, r.error_message, e.state as \"state?\" from ops.runs r left join ops.environments e on e.run_id = r.id
                 where r.id = $1",
                id.0
            );
            let row = row.fetch_optional(&mut conn).await.map_err(failed)?;
            let row = row.ok_or(format!("run {run} was acknowledged and is gone"))?;
            let state = row.state.unwrap_or_default();
            let is_last = self.last.values().any(|last| *last == id);
            let is_true = match row.status.as_str() {
                "succeeded" => state == if is_last { "running" } else { "destroyed" },
                "superseded" => !is_last && ["", "failed", "destroyed"].contains(&state.as_str()),
                "failed" => {
                    let reason = row.error_message.unwrap_or_default();
                    self.forgiven.contains(&id)
                        && reason.starts_with("The platform failed")
                        && state == "failed"
                }
                _ => false,
            };
            if !is_true {
                return Err(format!(
                    "run {run} is {}, its environment {state:?}, last {is_last}",
                    row.status
                ));
            }
        }
        let rows = sqlx::query!(
            "select id, hostname from ops.environments where state not in ('failed', 'destroyed')"
        );
        let rows = rows.fetch_all(&mut conn).await.map_err(failed)?;
        let live: BTreeMap<EnvironmentId, String> =
            rows.into_iter().map(|row| (row.id.into(), row.hostname)).collect();
        let wanted = Belongings::of(&live.keys().copied().collect());
        let found =
            Belongings::look(&self.installation, &self.docker).await.ok_or("something does not answer")?;
        if found != wanted {
            return Err(format!("there is {found:#?}, there should be {wanted:#?}"));
        }
        let containers = self.docker.containers().await.map_err(|error| error.to_string())?.len();
        if containers != live.len() {
            return Err(format!("{containers} containers for {} environments", live.len()));
        }
        Ok(live)
    }

    /// The environment's database is the work of one installation, and its server's is the one that is published.
    async fn installed_once(&self, id: EnvironmentId) -> Result<(), String> {
        let mut conn =
            tenants(&self.installation, &database_name(id)).await.ok_or("its database does not answer")?;
        #[expect(clippy::disallowed_methods, reason = "the small image's own table")]
        let rows = sqlx::query("select what from public.stand_in order by id").fetch_all(&mut conn).await;
        let done: Vec<String> =
            rows.map_err(|error| error.to_string())?.iter().map(|row| row.get(0)).collect();
        let installs =
            done.iter().filter(|what| what.starts_with("install") && *what != "install base").count();
        let bases = done.iter().filter(|what| *what == "install base").count();
        if (bases, installs) != (1, 1) {
            return Err(format!("environment {id}: {done:?}"));
        }
        Ok(())
    }

    /// What a run's containers printed, and how much of each is stored, once that is found right.
    async fn log_of(&self, conn: &mut PgConnection, run: RunId) -> Result<(Vec<Output>, Vec<usize>), String> {
        // In this order: a container that ends meanwhile is taken for one that runs, and lines for not stored yet.
        let running = self.docker.containers().await.map_err(|error| error.to_string())?;
        let running = running.into_iter().map(|container| container.id).collect();
        let lines = lines(conn, run).await.map_err(|error| error.to_string())?;
        let outputs = self.outputs.of(run);
        let stored = said::check(&lines, &outputs, &running);
        Ok((outputs, stored.map_err(|why| format!("log of run {run}: {why}"))?))
    }

    async fn nothing_twice_nor_lost(&self) -> Result<(), String> {
        let lives = self.ledger.lives();
        let mut conn = self.installation.superuser().await.map_err(|error| error.to_string())?;
        let serving: BTreeSet<String> = self.servers().await?.into_values().collect();
        for run in self.ledger.runs().iter().map(|run| run.parse::<RunId>().unwrap()) {
            if self.checked.lock().unwrap().contains(&run) {
                continue;
            }
            let events = events(&mut conn, run).await.map_err(|error| error.to_string())?;
            ended_once(&events).map_err(|why| format!("run {run}: {why}"))?;
            let (outputs, _) = self.log_of(&mut conn, run).await?;
            let installs: Vec<_> = outputs.iter().filter(|output| output.stream() == "install").collect();
            if events.iter().any(|event| event.kind == "succeeded") {
                let last = installs.last().ok_or(format!("no installation of run {run} printed anything"))?;
                if !last.is_whole() || last.last_number(usize::MAX) != 2000 {
                    return Err(format!("the installation of run {run} ends early: {:?}", last.lines.last()));
                }
            }
            one_at_a_time(run, &lives)?;
            let started = lives.iter().filter(|life| life.run == run.to_string() && !life.starts.is_empty());
            for life in started.filter(|life| life.name.starts_with("odooops-")) {
                if !outputs.iter().any(|output| output.id == life.id) {
                    return Err(format!("what {} printed was not kept: the test has to", life.name));
                }
            }
            if !outputs.iter().any(|output| serving.contains(&output.id)) {
                self.checked.lock().unwrap().insert(run);
            }
        }
        Ok(())
    }

    /// The containers of servers that people use.
    pub async fn servers(&self) -> Result<BTreeMap<EnvironmentId, String>, String> {
        let mut conn = self.installation.superuser().await.map_err(|error| error.to_string())?;
        let rows = sqlx::query!(
            r#"select id, container_id as "container!" from ops.environments
               where state = 'running' and container_id is not null"#
        );
        let rows = rows.fetch_all(&mut conn).await.map_err(|error| error.to_string())?;
        Ok(rows.into_iter().map(|row| (row.id.into(), row.container)).collect())
    }

    pub async fn stop(self) {
        // Once more of all runs: nothing came to them afterwards.
        self.checked.lock().unwrap().clear();
        self.settled().await.unwrap();
        self.installation.stop().await;
        self.followers.iter().for_each(JoinHandle::abort);
    }
}

pub async fn events(conn: &mut PgConnection, run: RunId) -> Result<Vec<Event>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select type as "kind!", payload ->> 'step' as step
           from ops.run_events where run_id = $1 order by id"#,
        run.0
    );
    let rows = rows.fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| Event { kind: row.kind, step: row.step }).collect())
}

async fn lines(conn: &mut PgConnection, run: RunId) -> Result<Vec<Line>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select seq as "seq!", stream as "stream!", message as "message!"
           from ops.run_logs where run_id = $1 order by seq"#,
        run.0
    );
    let rows = rows.fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| Line { seq: row.seq, stream: row.stream, message: row.message }).collect())
}

/// One end, and after it nothing; published at most once.
fn ended_once(events: &[Event]) -> Result<(), String> {
    const ENDS: [&str; 6] = ["succeeded", "warning", "failed", "timed_out", "canceled", "superseded"];
    let ends = events.iter().filter(|event| ENDS.contains(&event.kind.as_str())).count();
    let routed =
        events.iter().filter(|e| e.kind == "step_finished" && e.step.as_deref() == Some("route")).count();
    let after = events.iter().skip_while(|event| !ENDS.contains(&event.kind.as_str())).skip(1);
    let after: Vec<_> =
        after.filter(|event| event.kind.starts_with("step") || event.kind == "claimed").collect();
    if ends != 1 || routed > 1 || !after.is_empty() {
        return Err(format!("{ends} ends, published {routed} times, {after:?} after the end"));
    }
    Ok(())
}

/// No installation ran twice, and no two of one run at the same time.
fn one_at_a_time(run: RunId, lives: &[Life]) -> Result<(), String> {
    let of_run = lives.iter().filter(|life| life.run == run.to_string() && life.name.contains("-install-"));
    let mut known: BTreeSet<(i64, i64, &str)> = BTreeSet::new();
    for life in of_run {
        if life.starts.len() > 1 {
            return Err(format!("{} was started {} times", life.name, life.starts.len()));
        }
        // While the daemon is dead nobody tells of an end.
        if let (Some(start), Some((end, _))) = (life.starts.first(), life.ends.first()) {
            known.insert((*start, *end, &life.name));
        }
    }
    let known: Vec<_> = known.into_iter().collect();
    for pair in known.windows(2) {
        if pair[1].0 < pair[0].1 {
            return Err(format!("{} was started while {} ran", pair[1].2, pair[0].2));
        }
    }
    Ok(())
}
