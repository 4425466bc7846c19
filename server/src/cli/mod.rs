//! The command line for people and scripts. It speaks `/api/v1` and nothing else: over `ops.sock` on the server
//! itself, elsewhere with `--url` and a token in OPS_TOKEN. Results go to standard output, as tables or as JSON;
//! everything else goes to standard error.

mod branch;
mod client;
mod env;
mod failure;
mod follow;
mod joining;
mod output;
mod project;
mod run;
mod token;

pub use client::Client;
pub use failure::CliError;

use clap::{Args, Subcommand};
use odooops::config::Config;
use output::Output;
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

    fn output(&self) -> Output {
        Output { json: self.json }
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

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Projects: create, list, show.
    Project(Group<project::Command>),
    /// Branches of a project: list, move, on-push.
    Branch(Group<branch::Command>),
    /// Runs: list, show, logs, cancel, rebuild.
    Run(Group<run::Command>),
    /// Environments: create, wait, show, list, destroy.
    Env(Group<env::Command>),
    /// Machines of the installation: token, join, revoke.
    Worker(Group<joining::Command>),
    /// API tokens: create, list, revoke.
    Token(Group<token::Command>),
    /// Prints a link that signs the administrator in, once, within 15 minutes.
    LoginLink(LoginLink),
}

pub async fn run(command: Command, config: &Config) -> Result<ExitCode, CliError> {
    match command {
        Command::Project(group) => {
            project::run(group.command, &group.reach.client(config)?, group.reach.output()).await
        }
        Command::Branch(group) => {
            branch::run(group.command, &group.reach.client(config)?, group.reach.output()).await
        }
        Command::Run(group) => {
            run::run(group.command, &group.reach.client(config)?, group.reach.output()).await
        }
        Command::Env(group) => {
            env::run(group.command, &group.reach.client(config)?, group.reach.output()).await
        }
        Command::Token(group) => {
            token::run(group.command, &group.reach.client(config)?, group.reach.output()).await
        }
        Command::Worker(group) => {
            let (client, output) = (group.reach.client(config)?, group.reach.output());
            joining::run(group.command, &client, output, config).await
        }
        Command::LoginLink(link) => {
            let made = link.reach.client(config)?.login_link().await?;
            link.reach.output().show(&made, |made| made.url.clone())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
