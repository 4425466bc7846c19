use super::{
    CliError, Client, follow,
    output::{Output, duration, moment, or_dash},
    project::segment,
};
use crate::http::Queued;
use clap::Subcommand;
use odooops::{
    id::RunId,
    run::{Attempt, Event, RunSummary, RunView},
};
use reqwest::Method;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The runs of a project, newest first.
    List {
        #[arg(long, short)]
        project: String,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// One run with its steps.
    Show { run: RunId },
    /// The log of a run.
    Logs {
        run: RunId,
        /// Goes on until the run has ended.
        #[arg(long, short)]
        follow: bool,
        /// Lines after this sequence.
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
    /// Everything that happened to a run, in order.
    Events { run: RunId },
    /// Every try of a run: who had it, and how that ended.
    Attempts { run: RunId },
    /// Does a run that has ended once more: the same commit, for the same stage.
    Retry { run: RunId },
    /// Ends a run and removes what it made.
    Cancel { run: RunId },
    /// Builds the branch of a run again: its latest commit, for the same stage.
    Rebuild { run: RunId },
}

pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::List { project, limit } => {
            let path = format!("/projects/{}/runs?limit={limit}", segment(&project));
            let runs: Vec<RunSummary> = client.get(&path).await?;
            let columns = ["RUN", "KIND", "STATUS", "REF", "COMMIT", "SUBJECT", "QUEUED", "TOOK"];
            output.list(&runs, &columns, |r| {
                vec![
                    r.id.to_string(),
                    r.kind.to_string(),
                    r.status.to_string(),
                    r.branch.as_ref().map_or_else(|| r.git_ref.clone(), ToString::to_string),
                    r.commit_sha.chars().take(8).collect(),
                    r.commit_subject.clone().unwrap_or_default(),
                    moment(Some(r.queued_at)),
                    duration(r.started_at, r.finished_at),
                ]
            })?;
        }
        Command::Show { run } => {
            let run: RunView = client.get(&format!("/runs/{run}")).await?;
            output.show(&run, text)?;
        }
        Command::Logs { run, follow, after } => follow::logs(client, output, run, after, follow).await?,
        Command::Rebuild { run } => {
            let nothing = serde_json::json!({});
            let queued: Queued = client.post(&format!("/runs/{run}/rebuild"), &nothing).await?;
            output.show(&queued, |queued| format!("Build {} is queued.", queued.run_id))?;
        }
        Command::Events { run } => {
            let events: Vec<Event> = client.get(&format!("/runs/{run}/events")).await?;
            output.list(&events, &["WHEN", "EVENT", "WHAT"], |event| {
                vec![moment(Some(event.created_at)), event.r#type.clone(), facts(&event.payload)]
            })?;
        }
        Command::Attempts { run } => {
            let attempts: Vec<Attempt> = client.get(&format!("/runs/{run}/attempts")).await?;
            output.list(&attempts, &["ATTEMPT", "WORKER", "CLAIMED", "TOOK", "OUTCOME", "REASON"], |a| {
                vec![
                    a.attempt.to_string(),
                    a.worker_id.clone(),
                    moment(Some(a.claimed_at)),
                    duration(Some(a.claimed_at), a.ended_at),
                    a.outcome.map_or_else(|| "under way".to_owned(), |outcome| outcome.to_string()),
                    a.reason.clone().unwrap_or_default(),
                ]
            })?;
        }
        Command::Retry { run } => {
            let nothing = serde_json::json!({});
            let queued: Queued = client.post(&format!("/runs/{run}/retry"), &nothing).await?;
            output.show(&queued, |queued| format!("Run {} is queued.", queued.run_id))?;
        }
        Command::Cancel { run } => {
            client.act(Method::POST, &format!("/runs/{run}/cancel")).await?;
            let done = serde_json::json!({ "run_id": run, "cancel_requested": true });
            output.show(&done, |_| format!("Run {run} is being canceled."))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `step=install, ok=false`: what an event says, without JSON's marks.
fn facts(payload: &serde_json::Value) -> String {
    let Some(fields) = payload.as_object() else { return payload.to_string() };
    let fact = |(name, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::String(text) => format!("{name}={text}"),
        value => format!("{name}={value}"),
    };
    fields.iter().map(fact).collect::<Vec<_>>().join(", ")
}

fn text(run: &RunView) -> String {
    let mut text = format!(
        "{} {} of {}: {}\nproject:     {}\ncommit:      {} {}\nqueued:      {}\ntook:        {}\nenvironment: {}",
        run.kind,
        run.id,
        run.branch.as_ref().map_or(run.git_ref.as_str(), |branch| branch.as_str()),
        run.status,
        run.project_slug,
        run.commit_sha,
        run.commit_subject.as_deref().unwrap_or_default(),
        moment(Some(run.queued_at)),
        or_dash(Some(duration(run.started_at, run.finished_at)).filter(|took| !took.is_empty())),
        or_dash(run.environment.as_ref().map(|environment| &environment.url)),
    );
    if let Some(error) = &run.error_message {
        text.push_str(&format!("\nerror:       {error}"));
    }
    for step in &run.steps {
        let took = step.duration_ms.map(|ms| format!("{:.1}s", ms as f64 / 1000.0)).unwrap_or_default();
        let note = step.note.as_deref().unwrap_or_default();
        text.push_str(&format!("\n  {:<9} {:<9} {took:>8}  {note}", step.step.as_str(), step.state.as_str()));
    }
    text
}
