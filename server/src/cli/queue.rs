use super::{
    CliError, Client,
    output::{Output, moment, or_dash},
};
use crate::http::PriorityRequest;
use app::admin::words;
use clap::Subcommand;
use odooops::{
    id::RunId,
    run::backlog::{Queued, Wait},
};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Every run that has not ended, of all projects, and what it waits for.
    List,
    /// Lets a queued run go earlier or later than others.
    Priority {
        run: RunId,
        /// From -100 to 100. Higher goes first; runs begin with 0.
        #[arg(allow_negative_numbers = true)]
        priority: i32,
    },
}

pub async fn run(command: Command, client: &Client, output: Output) -> Result<ExitCode, CliError> {
    match command {
        Command::List => {
            let runs: Vec<Queued> = client.get("/queue").await?;
            let columns =
                ["RUN", "PROJECT", "REF", "KIND", "STATUS", "PRIORITY", "QUEUED", "WORKER", "WAITS FOR"];
            output.list(&runs, &columns, |run| {
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
        }
        Command::Priority { run, priority } => {
            client.tell(&format!("/runs/{run}/priority"), &PriorityRequest { priority }).await?;
            let done = serde_json::json!({ "run_id": run, "priority": priority });
            output.show(&done, |_| format!("Run {run} has priority {priority}."))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn wait(wait: &Wait) -> String {
    match wait {
        Wait::Run { id, .. } => format!("{} {id}", words::wait(wait)),
        wait => words::wait(wait),
    }
}
