//! The command line for people and scripts. It speaks `/api/v1` and nothing else: over `ops.sock` on the server
//! itself, elsewhere with `--url` and a token in OPS_TOKEN. Results go to standard output, as tables or as JSON;
//! everything else goes to standard error.

mod branch;
mod client;
mod env;
mod failure;
mod files;
mod follow;
mod gc;
mod joining;
mod labels;
mod output;
mod project;
mod queue;
mod run;
mod schedule;
mod shell;
mod status;
mod terminal;
mod token;
mod worker;

pub use client::Client;
pub use failure::CliError;

use clap::{Args, Subcommand};
use odooops::config::Config;
use output::Output;
pub use output::Streams;
use secrecy::SecretString;
use std::process::ExitCode;

/// How the platform is reached, and how its answers are shown. Every command takes these.
#[derive(Debug, Args)]
pub struct Reach {
    /// The console's address, with a token in OPS_TOKEN. Left out on the server itself.
    #[arg(long, global = true, env = "OPS_URL", value_name = "URL", help_heading = "Output and connection")]
    url: Option<String>,
    /// Prints JSON.
    #[arg(long, global = true, help_heading = "Output and connection")]
    json: bool,
}

impl Reach {
    fn client(&self, config: &Config) -> Result<Client, CliError> {
        match &self.url {
            Some(url) => {
                let token = std::env::var("OPS_TOKEN").map_err(|_| CliError::NoToken)?;
                Client::remote(url, SecretString::from(token))
            }
            None => Client::local(&config.ops_socket()),
        }
    }

    fn output(&self, streams: Streams) -> Output {
        Output { json: self.json, streams }
    }
}

/// A group of commands with what all of them take.
#[derive(Debug, Args)]
pub struct Group<C: Subcommand> {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: C,
}

#[derive(Debug, Args)]
pub struct LoginLink {
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub struct Gc {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    arguments: gc::Arguments,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Projects: create, list, show, labels.
    Project(Group<project::Command>),
    /// Branches of a project: list, move, on-push.
    Branch(Group<branch::Command>),
    /// Runs: list, show, logs, events, cancel, retry, rebuild.
    Run(Group<run::Command>),
    /// Environments: create, wait, show, list, password, shell, files, destroy.
    Env(Group<env::Command>),
    /// The queue of all projects: list, priority, limit.
    Queue(Group<queue::Command>),
    /// Machines of the installation and their workers: list, drain, labels, limits, confirm, forget, token, join, revoke.
    Worker(Group<worker::Command>),
    /// What is done again and again: list, create, change, run, history, enable, disable, delete.
    Schedule(Group<schedule::Command>),
    /// How the platform is. Ends with 1 when something is to be seen to.
    Status(Status),
    /// What has no owner: what would be removed, and what was moved out of the way.
    Gc(Gc),
    /// API tokens: create, list, revoke.
    Token(Group<token::Command>),
    /// Prints a link that signs the administrator in, once, within 15 minutes.
    LoginLink(LoginLink),
}

pub async fn run(command: Command, config: &Config) -> Result<ExitCode, CliError> {
    run_on(Streams::standard(), command, config).await
}

/// The same, with its lines written elsewhere.
pub async fn run_on(streams: Streams, command: Command, config: &Config) -> Result<ExitCode, CliError> {
    let ways = |reach: &Reach| Ok::<_, CliError>((reach.client(config)?, reach.output(streams)));
    match command {
        Command::Project(group) => {
            let (client, output) = ways(&group.reach)?;
            project::run(group.command, &client, &output).await
        }
        Command::Branch(group) => {
            let (client, output) = ways(&group.reach)?;
            branch::run(group.command, &client, &output).await
        }
        Command::Run(group) => {
            let (client, output) = ways(&group.reach)?;
            run::run(group.command, &client, &output).await
        }
        Command::Env(group) => {
            let (client, output) = ways(&group.reach)?;
            env::run(group.command, &client, &output).await
        }
        Command::Token(group) => {
            let (client, output) = ways(&group.reach)?;
            token::run(group.command, &client, &output).await
        }
        Command::Queue(group) => {
            let (client, output) = ways(&group.reach)?;
            queue::run(group.command, &client, &output).await
        }
        Command::Worker(group) => {
            let (client, output) = ways(&group.reach)?;
            worker::run(group.command, &client, &output, config).await
        }
        Command::Schedule(group) => {
            let (client, output) = ways(&group.reach)?;
            schedule::run(group.command, &client, &output).await
        }
        Command::Status(Status { reach }) => {
            let (client, output) = ways(&reach)?;
            status::run(&client, &output).await
        }
        Command::Gc(Gc { reach, arguments }) => {
            let (client, output) = ways(&reach)?;
            gc::run(arguments, &client, &output).await
        }
        Command::LoginLink(LoginLink { reach }) => {
            let (client, output) = ways(&reach)?;
            let made = client.login_link().await?;
            output.show(&made, |made| made.url.clone())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
