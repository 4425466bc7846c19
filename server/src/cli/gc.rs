//! What has no owner: what would be removed, and what was moved out of the way.

use super::{
    CliError, Client,
    output::{Output, moment},
    worker,
};
use crate::http::{DeletionRequest, DryRunRequest};
use app::admin::words;
use clap::{Args, Subcommand};
use odooops::{
    id::{QuarantineId, ReconcilerRequestId},
    reconcile::{DryRun, Quarantined},
};
use reqwest::Method;
use std::{process::ExitCode, time::Duration};
use tokio::time::{Instant, sleep};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// Asks the hosts what they would remove, and why. Nothing is removed.
    #[arg(long)]
    dry_run: bool,
    /// Only this host, by name.
    #[arg(long, requires = "dry_run")]
    host: Option<String>,
    /// How many seconds to wait for the hosts' answers.
    #[arg(long, requires = "dry_run", default_value_t = 60)]
    timeout: u64,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Data without an owner that was moved out of the way.
    List {
        /// Also what was deleted or put back.
        #[arg(long)]
        ended: bool,
    },
    /// Has it put back under the name that it had.
    Restore { id: QuarantineId },
    /// Has it deleted for good, production's too.
    Delete {
        id: QuarantineId,
        /// What it was called: repeated, so that nobody deletes the wrong one.
        #[arg(long)]
        name: String,
    },
}

pub async fn run(arguments: Arguments, client: &Client, output: &Output) -> Result<ExitCode, CliError> {
    match arguments.command {
        None if arguments.dry_run => {
            let within = Duration::from_secs(arguments.timeout);
            return dry_run(client, output, arguments.host.as_deref(), within).await;
        }
        None => {
            return Err(CliError::Usage(
                "hosts remove what has no owner by themselves; --dry-run shows what they would remove now",
            ));
        }
        Some(Command::List { ended }) => {
            let found: Vec<Quarantined> = client.get(&format!("/quarantine?ended={ended}")).await?;
            let columns =
                ["ID", "HOST", "KIND", "NAME", "PRODUCTION", "SIZE", "SINCE", "DELETED AFTER", "REASON"];
            output.list(&found, &columns, |q| {
                vec![
                    q.id.to_string(),
                    q.host.clone(),
                    q.kind.as_str().to_owned(),
                    q.original_name.clone(),
                    if q.production { "yes".to_owned() } else { "no".to_owned() },
                    q.size_bytes.map(words::bytes).unwrap_or_default(),
                    moment(Some(q.quarantined_at)),
                    end(q),
                    q.error.clone().unwrap_or_else(|| q.reason.clone()),
                ]
            })?;
        }
        Some(Command::Restore { id }) => {
            client.act(Method::POST, &format!("/quarantine/{id}/restore")).await?;
            let done = serde_json::json!({ "id": id, "restore_requested": true });
            output.show(&done, |_| "Its host puts it back.".to_owned())?;
        }
        Some(Command::Delete { id, name }) => {
            client.tell(&format!("/quarantine/{id}/delete"), &DeletionRequest { name }).await?;
            let done = serde_json::json!({ "id": id, "delete_requested": true });
            output.show(&done, |_| "Its host deletes it.".to_owned())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn end(q: &Quarantined) -> String {
    match (q.deleted_at, q.restored_at, q.delete_after) {
        (Some(at), ..) => format!("deleted {}", moment(Some(at))),
        (_, Some(at), _) => format!("put back {}", moment(Some(at))),
        (.., Some(at)) => moment(Some(at)),
        _ => "never by itself".to_owned(),
    }
}

const PAUSE: Duration = Duration::from_millis(300);

async fn dry_run(
    client: &Client,
    output: &Output,
    host: Option<&str>,
    within: Duration,
) -> Result<ExitCode, CliError> {
    let host = match host {
        Some(name) => Some(worker::named(client, name).await?.id),
        None => None,
    };
    let ids: Vec<ReconcilerRequestId> = client.post("/dry-runs", &DryRunRequest { host }).await?;
    let until = Instant::now() + within;
    let mut answers: Vec<DryRun> = Vec::new();
    for id in ids {
        loop {
            let answer: DryRun = client.get(&format!("/dry-runs/{id}")).await?;
            if answer.answered_at.is_some() || Instant::now() >= until {
                answers.push(answer);
                break;
            }
            sleep(PAUSE).await;
        }
    }
    let unknown = unknown(&answers);
    if output.json {
        output.show(&answers, |_| String::new())?;
    } else {
        let rows: Vec<_> = answers.iter().flat_map(findings).collect();
        if !rows.is_empty() {
            output.list(&rows, &["HOST", "RECONCILER", "WOULD", "OBJECT", "WHY"], Clone::clone)?;
        } else if unknown.is_empty() {
            output.say("Nothing would be removed.")?;
        }
    }
    unknown.iter().for_each(|why| output.note(why));
    Ok(if unknown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why nobody can say that this is all that would be removed.
fn unknown(answers: &[DryRun]) -> Vec<String> {
    if answers.is_empty() {
        return vec!["No host was asked, for there is none: nobody knows what would be removed.".to_owned()];
    }
    let mut unknown = Vec::new();
    for answer in answers {
        if answer.answered_at.is_none() {
            unknown.push(format!("{} has not answered: its worker may not run.", answer.host));
        }
        let failed = answer.reports.iter().filter(|report| report.error.is_some());
        let failed: Vec<_> = failed.map(|report| report.name.as_str()).collect();
        if !failed.is_empty() {
            unknown.push(format!(
                "On {} these could not look, and what they would remove is not known: {}.",
                answer.host,
                failed.join(", ")
            ));
        }
    }
    unknown
}

fn findings(answer: &DryRun) -> impl Iterator<Item = Vec<String>> + '_ {
    answer.reports.iter().flat_map(move |report| {
        let failed = report.error.iter().map(move |error| {
            vec![answer.host.clone(), report.name.clone(), "-".to_owned(), "-".to_owned(), error.clone()]
        });
        let found = report.findings.iter().map(move |finding| {
            vec![
                answer.host.clone(),
                report.name.clone(),
                finding.what.clone(),
                finding.object.clone(),
                finding.why.clone(),
            ]
        });
        failed.chain(found)
    })
}
