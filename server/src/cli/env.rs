use super::{
    CliError, Client, files, follow,
    output::{Output, moment, or_dash},
    project::segment,
    shell,
};
use crate::http::{AdminPassword, EnvironmentRequest, Queued};
use clap::Subcommand;
use odooops::{
    branch::{CommitSha, Stage},
    environment::EnvironmentSummary,
    id::{EnvironmentId, RunId},
    run::{RunView, Verdict},
};
use reqwest::Method;
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// What `timeout` of the coreutils ends with, too.
const TIMED_OUT: u8 = 124;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Queues the build of an environment and prints the run's id.
    Create {
        project: String,
        /// development or staging.
        #[arg(value_parser = str::parse::<Stage>)]
        kind: Stage,
        /// A branch.
        git_ref: String,
        /// A full commit hash. The branch's head, when left out.
        commit: Option<String>,
    },
    /// Waits for a run. Ends with 0 when it is green or yellow, 1 when red, 2 when canceled, 124 when the time is up.
    Wait {
        run: RunId,
        /// How long, such as 90s, 10m or 1h. For ever, when left out.
        #[arg(long, value_parser = span)]
        timeout: Option<Duration>,
    },
    /// The environments of a project.
    List {
        #[arg(long, short)]
        project: String,
    },
    /// One environment.
    Show { environment: EnvironmentId },
    /// How to sign in to an environment's Odoo as its administrator.
    Password { environment: EnvironmentId },
    /// A shell in an environment's container, as its Odoo's user. Ends with what the program ends with, or 255.
    Shell {
        environment: EnvironmentId,
        /// Another program than bash, and its arguments.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Lists what is in an environment: its sources and its filestore. Or gets one file.
    Files {
        environment: EnvironmentId,
        /// Such as src/sale/models.
        #[arg(default_value = "")]
        path: String,
        /// Where to write the file to; - is the standard output.
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Removes an environment with its database and files.
    Destroy { environment: EnvironmentId },
}

pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Create { project, kind, git_ref, commit } => {
            let commit = commit.as_deref().map(CommitSha::parse).transpose();
            let commit = commit.map_err(|error| CliError::Refused(Box::new((&error).into())))?;
            let request = EnvironmentRequest { project, kind, git_ref, commit };
            let queued: Queued = client.post("/environments", &request).await?;
            output.show(&queued, |queued| queued.run_id.to_string())?;
        }
        Command::Wait { run, timeout } => return wait(client, output, run, timeout).await,
        Command::List { project } => {
            let path = format!("/projects/{}/environments", segment(&project));
            let environments: Vec<EnvironmentSummary> = client.get(&path).await?;
            output.list(
                &environments,
                &["ENVIRONMENT", "BRANCH", "STAGE", "STATE", "COMMIT", "ADDRESS", "CREATED"],
                |e| {
                    vec![
                        e.id.to_string(),
                        or_dash(e.branch.as_ref()),
                        e.stage.to_string(),
                        format!("{:?}", e.state).to_lowercase(),
                        e.commit_sha.short().to_owned(),
                        e.url.clone(),
                        moment(Some(e.created_at)),
                    ]
                },
            )?;
        }
        Command::Show { environment } => {
            let environment: EnvironmentSummary = client.get(&format!("/environments/{environment}")).await?;
            output.show(&environment, |e| {
                format!(
                    "environment {}: {}\naddress: {}\nbranch:  {}\nstage:   {}\ncommit:  {}\nrun:     {}",
                    e.id,
                    format!("{:?}", e.state).to_lowercase(),
                    e.url,
                    or_dash(e.branch.as_ref()),
                    e.stage,
                    e.commit_sha,
                    e.run_id
                )
            })?;
        }
        Command::Password { environment } => {
            let path = format!("/environments/{environment}/admin-password");
            let admin: AdminPassword = client.get(&path).await?;
            output.show(&admin, |admin| admin.password.clone())?;
        }
        Command::Shell { environment, command } => return shell::run(client, environment, command).await,
        Command::Files { environment, path, output: target } => {
            files::run(client, output, environment, &path, target.as_deref()).await?;
        }
        Command::Destroy { environment } => {
            client.act(Method::DELETE, &format!("/environments/{environment}")).await?;
            let done = serde_json::json!({ "environment_id": environment, "state": "destroying" });
            output.show(&done, |_| format!("Environment {environment} is being removed."))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn wait(
    client: &Client,
    output: &Output,
    run: RunId,
    timeout: Option<Duration>,
) -> Result<ExitCode, CliError> {
    let mut last = String::new();
    let progress = |view: &RunView| {
        let step = view.steps.last().map(|step| format!(", {}", step.step)).unwrap_or_default();
        let line = format!("{}{step}", view.status);
        if line != last {
            output.note(&line);
            last = line;
        }
    };
    let ended = follow::until_ended(client, run, progress);
    let view = match timeout {
        None => ended.await?,
        Some(timeout) => match tokio::time::timeout(timeout, ended).await {
            Ok(view) => view?,
            Err(_) => {
                output.note("The run has not ended within the time.");
                return Ok(ExitCode::from(TIMED_OUT));
            }
        },
    };
    if output.json {
        output.show(&view, |_| String::new())?;
    } else {
        if let Some(error) = &view.error_message {
            output.note(error);
        }
        if let Some(environment) = &view.environment {
            output.say(&environment.url)?;
        }
    }
    Ok(ExitCode::from(code(view.status.verdict())))
}

/// What scripts decide by.
fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Green | Verdict::Yellow => 0,
        Verdict::Red | Verdict::Running | Verdict::Queued => 1,
        Verdict::Canceled => 2,
    }
}

/// `90`, `90s`, `10m`, `1h`.
fn span(text: &str) -> Result<Duration, String> {
    let (number, factor) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) if text.ends_with('h') => (number, 3600),
        Some(number) => (number, 1),
        None => (text, 1),
    };
    let number = number.parse::<u64>().map_err(|_| "write seconds, or a number with s, m or h".to_owned())?;
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        assert_eq!(span("90"), Ok(Duration::from_secs(90)));
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(span("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "m", "-1", "1d", "1.5h", "99999999999999999999h"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
