use super::{
    CliError, Client,
    output::{Output, moment, or_dash},
    project::segment,
};
use clap::{Subcommand, ValueEnum};
use odooops::{
    branch::BranchName,
    id::ScheduleId,
    project::Slug,
    schedule::{MaintenanceTask, NewSchedule, ScheduleChange, ScheduleRun, ScheduleView, Work},
};
use reqwest::Method;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The schedules of a project, or all there are.
    List {
        #[arg(long, short)]
        project: Option<String>,
    },
    /// Builds the newest commit of a branch again and again, or does the platform's own work.
    Create {
        name: String,
        /// Minute, hour, day of month, month, day of week: "30 2 * * 1-5". Or @daily and the like.
        #[arg(long)]
        cron: String,
        /// An IANA name such as Europe/Brussels. UTC, when left out.
        #[arg(long)]
        time_zone: Option<String>,
        /// The project whose branch is built.
        #[arg(long, short, requires = "branch")]
        project: Option<String>,
        #[arg(long, short, requires = "project", conflicts_with = "task", required_unless_present = "task")]
        branch: Option<String>,
        /// The platform's own work.
        #[arg(long)]
        task: Option<Task>,
    },
    /// Gives a schedule another name or time.
    Change {
        schedule: ScheduleId,
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        cron: Option<String>,
        #[arg(long)]
        time_zone: Option<String>,
    },
    /// Does now what a schedule is for.
    Run { schedule: ScheduleId },
    /// What came of a schedule each time, the newest first.
    History { schedule: ScheduleId },
    /// Lets a schedule go on, from the next time that it is due.
    Enable { schedule: ScheduleId },
    /// Stops a schedule.
    Disable { schedule: ScheduleId },
    /// Removes a schedule. What it has queued stays.
    Delete { schedule: ScheduleId },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Task {
    /// Drops what is older than it is kept.
    Retention,
    /// Asks every host to compare what is wanted with what is there.
    Reconcile,
}

pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::List { project } => {
            let of = project.map(|project| format!("?project={}", segment(&project))).unwrap_or_default();
            let schedules: Vec<ScheduleView> = client.get(&format!("/schedules{of}")).await?;
            let columns = ["ID", "PROJECT", "NAME", "DOES", "CRON", "ZONE", "NEXT", "LAST", "RESULT"];
            output.list(&schedules, &columns, |s| {
                vec![
                    s.id.to_string(),
                    or_dash(s.project_slug.as_ref()),
                    s.name.clone(),
                    does(s),
                    s.cron.clone(),
                    s.time_zone.clone(),
                    next(s),
                    moment(s.last.as_ref().map(|last| last.due_at)),
                    s.last.as_ref().map(result).unwrap_or_default(),
                ]
            })?;
        }
        Command::Create { name, cron, time_zone, project, branch, task } => {
            let refused = |error: odooops::Error| CliError::Refused(Box::new((&error).into()));
            let work = match (task, branch) {
                (Some(Task::Retention), _) => Work::Maintenance { task: MaintenanceTask::Retention },
                (Some(Task::Reconcile), _) => Work::Maintenance { task: MaintenanceTask::Reconcile },
                (None, branch) => {
                    Work::Build { branch: BranchName::parse(&branch.unwrap_or_default()).map_err(refused)? }
                }
            };
            let project = project.as_deref().map(Slug::parse).transpose().map_err(refused)?;
            let new = NewSchedule { project, name, cron, time_zone, work };
            let made: ScheduleView = client.post("/schedules", &new).await?;
            output.show(&made, text)?;
        }
        Command::Change { schedule, name, cron, time_zone } => {
            let change = ScheduleChange { name, cron, time_zone, enabled: None };
            let changed: ScheduleView = client.patch(&format!("/schedules/{schedule}"), &change).await?;
            output.show(&changed, text)?;
        }
        Command::Enable { schedule } => {
            let change = ScheduleChange { enabled: Some(true), ..ScheduleChange::default() };
            let changed: ScheduleView = client.patch(&format!("/schedules/{schedule}"), &change).await?;
            output.show(&changed, text)?;
        }
        Command::Disable { schedule } => {
            let change = ScheduleChange { enabled: Some(false), ..ScheduleChange::default() };
            let changed: ScheduleView = client.patch(&format!("/schedules/{schedule}"), &change).await?;
            output.show(&changed, text)?;
        }
        Command::Run { schedule } => {
            let nothing = serde_json::json!({});
            let done: ScheduleRun = client.post(&format!("/schedules/{schedule}/run"), &nothing).await?;
            output.show(&done, |done| match (done.run_id, &done.error) {
                (_, Some(error)) => format!("Nothing was queued: {error}"),
                (Some(run), None) => format!("Run {run} is queued."),
                (None, None) => "It is done within seconds.".to_owned(),
            })?;
            return Ok(if done.error.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        Command::History { schedule } => {
            let runs: Vec<ScheduleRun> = client.get(&format!("/schedules/{schedule}/runs")).await?;
            output.list(&runs, &["DUE", "MISSED", "RESULT", "RUN", "FINISHED", "ERROR"], |run| {
                vec![
                    moment(Some(run.due_at)),
                    run.missed.to_string(),
                    result(run),
                    or_dash(run.run_id),
                    moment(run.finished_at),
                    run.error.clone().unwrap_or_default(),
                ]
            })?;
        }
        Command::Delete { schedule } => {
            client.act(Method::DELETE, &format!("/schedules/{schedule}")).await?;
            let done = serde_json::json!({ "id": schedule, "deleted": true });
            output.show(&done, |_| format!("Schedule {schedule} is deleted."))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn does(schedule: &ScheduleView) -> String {
    match (&schedule.branch, schedule.task) {
        (Some(branch), _) => format!("{} {branch}", schedule.kind),
        (None, Some(task)) => task.to_string(),
        (None, None) => schedule.kind.to_string(),
    }
}

fn next(schedule: &ScheduleView) -> String {
    match (schedule.enabled, &schedule.error) {
        (false, _) => "stopped".to_owned(),
        (true, Some(error)) => error.clone(),
        (true, None) => or_dash(schedule.next_due_local.as_ref()),
    }
}

/// The run's own status, where there is a run.
fn result(run: &ScheduleRun) -> String {
    run.run_status.map_or_else(|| run.state.to_string(), |status| status.to_string())
}

fn text(schedule: &ScheduleView) -> String {
    format!(
        "{} ({})\ndoes: {}\nwhen: {} ({}), in {}\nnext: {}",
        schedule.name,
        schedule.id,
        does(schedule),
        schedule.cron,
        or_dash(schedule.reading.as_ref()),
        schedule.time_zone,
        next(schedule)
    )
}
