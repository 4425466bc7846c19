use super::{
    CliError, Client,
    output::{Output, moment, or_dash},
};
use crate::http::{KindLimitRequest, PriorityRequest};
use app::admin::words;
use clap::Subcommand;
use odooops::{
    id::RunId,
    run::{
        RunKind,
        backlog::{Backlog, Wait},
    },
};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What has not ended, of all projects, and what it waits for: the first 500 runs, and how many there are.
    List,
    /// Lets a queued run go earlier or later than others.
    Priority {
        run: RunId,
        /// From -100 to 100. Higher goes first; runs begin with 0.
        #[arg(allow_negative_numbers = true)]
        priority: i32,
    },
    /// Lets only so many runs of a kind be under way at once, on all hosts together.
    Limit {
        /// build, test, deploy, backup, restore, clone, upgrade, move or maintenance.
        #[arg(value_parser = str::parse::<RunKind>)]
        kind: RunKind,
        /// 0: none begins. none: as many as workers have places for.
        #[arg(value_name = "N|none", value_parser = most)]
        most: Most,
    },
}

/// How many at once; None: no limit.
#[derive(Debug, Clone, Copy)]
pub struct Most(Option<i32>);

fn most(text: &str) -> Result<Most, String> {
    if text == "none" {
        return Ok(Most(None));
    }
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.map(|number| Most(Some(number))).ok_or_else(|| "write a number of 0 or more, or none".to_owned())
}

pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::List => {
            let backlog: Backlog = client.get("/queue").await?;
            if output.json {
                output.show(&backlog, |_| String::new())?;
            } else {
                list(&backlog, output)?;
            }
        }
        Command::Priority { run, priority } => {
            client.tell(&format!("/runs/{run}/priority"), &PriorityRequest { priority }).await?;
            let done = serde_json::json!({ "run_id": run, "priority": priority });
            output.show(&done, |_| format!("Run {run} has priority {priority}."))?;
        }
        Command::Limit { kind, most: Most(max_running) } => {
            client.tell("/queue/limits", &KindLimitRequest { kind, max_running }).await?;
            let done = serde_json::json!({ "kind": kind, "max_running": max_running });
            output.show(&done, |_| match max_running {
                Some(0) => format!("No run of kind {kind} begins."),
                Some(most) => format!("At most {most} runs of kind {kind} are under way at once."),
                None => format!("Runs of kind {kind} have no limit."),
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(backlog: &Backlog, output: &Output) -> Result<(), CliError> {
    let columns = ["RUN", "PROJECT", "REF", "KIND", "STATUS", "PRIORITY", "QUEUED", "WORKER", "WAITS FOR"];
    output.list(&backlog.runs, &columns, |run| {
        vec![
            run.id.to_string(),
            run.project.to_string(),
            run.branch.as_ref().map_or_else(|| run.git_ref.clone(), ToString::to_string),
            run.kind.to_string(),
            run.step.map_or_else(|| run.status.to_string(), |step| format!("{}: {step}", run.status)),
            run.priority.to_string(),
            moment(Some(run.queued_at)),
            or_dash(run.worker_id.as_ref()),
            run.waits.iter().map(wait).collect::<Vec<_>>().join("; "),
        ]
    })?;
    let first = backlog.cut_off().map(|all| format!("The first {} of {all}: ", backlog.runs.len()));
    output.note(&format!(
        "{}{} under way, {} waiting.",
        first.unwrap_or_default(),
        backlog.under_way,
        backlog.waiting
    ));
    for limit in &backlog.limits {
        output.note(&format!("At most {} runs of kind {} at once.", limit.max_running, limit.kind));
    }
    Ok(())
}

fn wait(wait: &Wait) -> String {
    match wait {
        Wait::Run { id, .. } => format!("{} {id}", words::wait(wait)),
        wait => words::wait(wait),
    }
}
