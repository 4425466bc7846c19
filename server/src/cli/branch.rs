use super::{
    CliError, Client,
    output::{Output, moment, or_dash},
    project::segment,
};
use crate::http::{MoveRequest, OnPushRequest};
use clap::{Args, Subcommand, ValueEnum};
use odooops::branch::{self, BranchCard, BranchName, Moved, Stage, Target};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The branches of a project with their latest build.
    List {
        #[arg(long, short)]
        project: String,
    },
    /// Moves a branch as a drop on the board does: to a stage, or onto another branch to merge into it.
    Move {
        #[arg(long, short)]
        project: String,
        branch: String,
        #[command(flatten)]
        target: Destination,
        /// The staging branch that receives the merge when production is moved to staging.
        #[arg(long, value_name = "BRANCH")]
        into: Option<String>,
    },
    /// Says whether pushes to a branch are built.
    OnPush {
        #[arg(long, short)]
        project: String,
        branch: String,
        what: OnPush,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OnPush {
    /// Each push is built, in the way of the branch's stage.
    Build,
    Nothing,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Destination {
    /// production, staging or development.
    #[arg(long, value_parser = str::parse::<Stage>)]
    stage: Option<Stage>,
    /// Merges into this branch.
    #[arg(long, value_name = "BRANCH")]
    onto: Option<String>,
}

pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::List { project } => {
            let branches: Vec<BranchCard> =
                client.get(&format!("/projects/{}/branches", segment(&project))).await?;
            output.list(&branches, &["BRANCH", "STAGE", "LATEST BUILD", "HEAD", "SUBJECT", "WHEN"], |b| {
                vec![
                    b.name.to_string(),
                    b.stage.to_string(),
                    or_dash(b.runs.first().map(|run| run.status)),
                    or_dash(b.head.as_ref().map(|head| head.sha.short())),
                    b.head.as_ref().map(|head| head.subject.clone()).unwrap_or_default(),
                    moment(b.head.as_ref().map(|head| head.authored_at)),
                ]
            })?;
        }
        Command::OnPush { project, branch, what } => {
            let request = OnPushRequest { branch: name(&branch)?, build: matches!(what, OnPush::Build) };
            let path = format!("/projects/{}/on-push", segment(&project));
            let card: BranchCard = client.post(&path, &request).await?;
            output.show(&card, |card| match card.on_push {
                branch::OnPush::Nothing => format!("Pushes to {branch} are not built."),
                branch::OnPush::New | branch::OnPush::Update => format!("Pushes to {branch} are built."),
            })?;
        }
        Command::Move { project, branch, target, into } => {
            let target = match (target.stage, target.onto) {
                (Some(stage), _) => Target::Stage { stage },
                (None, onto) => Target::Branch { name: name(onto.as_deref().unwrap_or_default())? },
            };
            let into = into.as_deref().map(name).transpose()?;
            let request = MoveRequest { branch: name(&branch)?, target, into };
            let moved: Moved =
                client.post(&format!("/projects/{}/moves", segment(&project)), &request).await?;
            output.show(&moved, |moved| text(&branch, moved))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn name(text: &str) -> Result<BranchName, CliError> {
    BranchName::parse(text).map_err(|error| CliError::Refused(Box::new((&error).into())))
}

fn text(branch: &str, moved: &Moved) -> String {
    let build =
        |run: &Option<_>| run.as_ref().map(|run| format!(" Build {run} is queued.")).unwrap_or_default();
    match moved {
        Moved::Nothing => format!("{branch} is there already."),
        Moved::Restaged { to, run } => format!("{branch} is in {to} now.{}", build(run)),
        Moved::Merged { into, changed: false, .. } => format!("{into} has everything of {branch} already."),
        Moved::Merged { into, run, .. } => format!("{branch} was merged into {into}.{}", build(run)),
    }
}
