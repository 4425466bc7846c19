//! How the platform is. Ends with 0 when all is well and with 1 when something is to be seen to, for monitoring.

use super::{
    CliError, Client,
    output::{Output, moment, or_dash},
};
use app::admin::words;
use chrono::{DateTime, Utc};
use odooops::{
    reconcile::{HostReport, Mode},
    status::Status,
};
use std::process::ExitCode;

pub async fn run(client: &Client, output: &Output) -> Result<ExitCode, CliError> {
    let status: Status = client.get("/status").await?;
    output.show(&status, text)?;
    Ok(if status.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(status: &Status) -> String {
    let pg = &status.postgres;
    let mut lines = vec![
        format!(
            "PostgreSQL   {}, {}, {} of {} connections, up since {}",
            pg.version,
            words::bytes(pg.size_bytes),
            pg.connections,
            pg.max_connections,
            moment(Some(pg.started_at))
        ),
        format!("schema       {} of {}", status.migrations.applied, status.migrations.known),
        format!(
            "queue        {} waiting, {} later, {} running{}",
            status.queue.waiting,
            status.queue.later,
            status.queue.running,
            status
                .queue
                .oldest_waiting_since
                .map(|since| format!(", the oldest for {}", ago(status, since)))
                .unwrap_or_default()
        ),
        format!("quarantine   {} objects", status.quarantined),
    ];
    for worker in &status.workers {
        lines.push(format!(
            "worker       {} on {}: {}, {} of {} runs, heard of {} ago",
            worker.id,
            or_dash(worker.host.as_ref()),
            worker.state,
            worker.running,
            worker.capacity,
            ago(status, worker.last_heartbeat_at)
        ));
    }
    if let Some(last) = &status.retention {
        lines.push(format!("retention    {}, due {} ago", last.state, ago(status, last.due_at)));
    }
    lines.extend(status.reconcilers.iter().map(|report| reconciler(status, report)));
    for run in &status.queue.stuck {
        lines.push(format!(
            "stuck        {} {} of {}, since {}",
            run.kind,
            run.id,
            run.project,
            moment(Some(run.since))
        ));
    }
    match status.problems.as_slice() {
        [] => lines.push("All is well.".to_owned()),
        problems => lines.extend(problems.iter().map(|problem| format!("! {}", words::problem(problem)))),
    }
    lines.join("\n")
}

fn reconciler(status: &Status, host_report: &HostReport) -> String {
    let HostReport { host, finished_at, report, .. } = host_report;
    let did = match report.mode {
        Mode::Act => format!("acted on {}", report.acted),
        Mode::Report => format!("only reports, would act on {}", report.would),
    };
    let error = report.error.as_ref().map(|error| format!(", failed: {error}")).unwrap_or_default();
    let (name, looked_at, ago) = (&report.name, report.looked_at, ago(status, *finished_at));
    format!("reconciler   {name} on {host}: looked at {looked_at}, {did}, {ago} ago{error}")
}

fn ago(status: &Status, at: DateTime<Utc>) -> String {
    super::output::seconds((status.checked_at - at).num_seconds().max(0))
}
