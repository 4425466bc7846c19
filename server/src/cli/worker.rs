use super::{
    CliError, Client, joining, labels,
    output::{Output, moment, or_dash},
    project::segment,
};
use crate::http::{DrainRequest, HostLimitsRequest, LabelsRequest};
use app::admin::words;
use bytesize::ByteSize;
use clap::Subcommand;
use odooops::{
    config::Config,
    host::{HostView, WorkerView},
};
use reqwest::Method;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The processes that take runs, and their hosts.
    List,
    /// Has a worker finish what it holds and take nothing more.
    Drain {
        worker: String,
        /// It takes runs again.
        #[arg(long)]
        undo: bool,
    },
    /// Lets a host act again that only reports, because the ops database was restored or its data directory is new.
    /// First look at what it would remove: `ops gc --dry-run --host HOST`.
    Confirm { host: String },
    /// What a host has, the console's own machine among them, for runs of projects that ask for it.
    Labels {
        host: String,
        #[command(flatten)]
        change: labels::Change,
    },
    /// How much must be free on a host for a run to begin there. Without options they are shown.
    Limits {
        host: String,
        /// Such as 2GiB.
        #[arg(long, value_name = "SIZE", value_parser = bytes)]
        min_free_memory: Option<i64>,
        /// Such as 10GiB.
        #[arg(long, value_name = "SIZE", value_parser = bytes)]
        min_free_disk: Option<i64>,
    },
    /// Forgets a worker that is silent and holds neither runs nor environments, with its host when no other worker
    /// speaks for that.
    Forget { worker: String },
    #[command(flatten)]
    Joining(joining::Command),
}

pub async fn run(
    command: Command,
    client: &Client,
    output: &Output,
    config: &Config,
) -> Result<ExitCode, CliError> {
    match command {
        Command::Joining(command) => return joining::run(command, client, output, config).await,
        Command::List => {
            let workers: Vec<WorkerView> = client.get("/workers").await?;
            let columns = [
                "WORKER",
                "HOST",
                "STATE",
                "RUNS",
                "KINDS",
                "MEMORY FREE",
                "DISK FREE",
                "LAST HEARTBEAT",
                "VERSION",
            ];
            output.list(&workers, &columns, |worker| {
                vec![
                    worker.id.clone(),
                    or_dash(worker.host.as_ref()),
                    worker.state.to_string(),
                    format!("{} of {}", worker.running, worker.capacity),
                    worker.kinds.join(", "),
                    of(worker.memory_free_bytes, worker.memory_total_bytes),
                    of(worker.disk_free_bytes, worker.disk_total_bytes),
                    moment(Some(worker.last_heartbeat_at)),
                    worker.version.clone(),
                ]
            })?;
        }
        Command::Drain { worker, undo } => {
            let path = format!("/workers/{}/drain", segment(&worker));
            client.tell(&path, &DrainRequest { drain: !undo }).await?;
            let done = serde_json::json!({ "worker": worker, "draining": !undo });
            output.show(&done, |_| match undo {
                false => format!("{worker} finishes what it holds and takes nothing more."),
                true => format!("{worker} takes runs again."),
            })?;
        }
        Command::Confirm { host } => {
            let id = named(client, &host).await?.id;
            client.act(Method::POST, &format!("/hosts/{id}/confirm")).await?;
            let done = serde_json::json!({ "host_id": id, "host": host, "confirmed": true });
            output.show(&done, |_| format!("{host} acts again with its next round."))?;
        }
        Command::Labels { host, change } => {
            let mut found = named(client, &host).await?;
            if let Some(labels) = change.labels() {
                let path = format!("/hosts/{}/labels", found.id);
                client.tell(&path, &LabelsRequest { labels }).await?;
                found = named(client, &host).await?;
            }
            let done = serde_json::json!({ "host_id": found.id, "host": host, "labels": found.labels });
            output.show(&done, |_| format!("{host} has these labels: {}.", labels::text(&found.labels)))?;
        }
        Command::Limits { host, min_free_memory, min_free_disk } => {
            let mut found = named(client, &host).await?;
            if min_free_memory.is_some() || min_free_disk.is_some() {
                let request = HostLimitsRequest {
                    min_free_memory_bytes: min_free_memory,
                    min_free_disk_bytes: min_free_disk,
                };
                client.tell(&format!("/hosts/{}/limits", found.id), &request).await?;
                found = named(client, &host).await?;
            }
            let (memory, disk) = (found.min_free_memory_bytes, found.min_free_disk_bytes);
            let done = serde_json::json!({
                "host_id": found.id, "host": host, "min_free_memory_bytes": memory, "min_free_disk_bytes": disk,
            });
            output.show(&done, |_| {
                let (memory, disk) = (words::bytes(memory), words::bytes(disk));
                format!("Runs begin on {host} while {memory} of memory and {disk} of disk are free.")
            })?;
        }
        Command::Forget { worker } => {
            client.act(Method::DELETE, &format!("/workers/{}", segment(&worker))).await?;
            let done = serde_json::json!({ "worker": worker, "forgotten": true });
            output.show(&done, |_| format!("{worker} is forgotten."))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The host of this name.
pub async fn named(client: &Client, host: &str) -> Result<HostView, CliError> {
    let hosts: Vec<HostView> = client.get("/hosts").await?;
    let found = hosts.into_iter().find(|known| known.name == host);
    found.ok_or(CliError::Usage("there is no host of that name"))
}

fn of(free: Option<i64>, total: Option<i64>) -> String {
    match (free, total) {
        (Some(free), Some(total)) => format!("{} of {}", words::bytes(free), words::bytes(total)),
        _ => "-".to_owned(),
    }
}

fn bytes(text: &str) -> Result<i64, String> {
    let size = text.parse::<ByteSize>().ok().and_then(|size| i64::try_from(size.as_u64()).ok());
    size.ok_or_else(|| "write a size such as 512MiB or 10GiB".to_owned())
}
