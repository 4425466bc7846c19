use super::{
    CliError, Client,
    output::{Output, moment, or_dash},
};
use crate::http::PriorityRequest;
use app::admin::words;
use clap::Subcommand;
use odooops::{
    id::RunId,
    run::backlog::{Backlog, Wait},
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
    Ok(())
}

fn wait(wait: &Wait) -> String {
    match wait {
        Wait::Run { id, .. } => format!("{} {id}", words::wait(wait)),
        wait => words::wait(wait),
    }
}
