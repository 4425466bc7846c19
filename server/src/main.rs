//! The binary `ops`: one program with several roles. This file only knows which module each subcommand is.

mod cli;
mod config_check;
mod config_flags;
mod hook;
mod http;
mod migrate;
mod node;
mod proxy;
mod serve;
mod socket_file;
mod ssh;
mod up;
mod work;

use clap::{Parser, Subcommand};
use config_flags::ConfigFlags;
use odooops::{config::Config, postgres::ops};
use std::{io::IsTerminal, process::ExitCode};
use tracing_subscriber::EnvFilter;

/// What a role ends with when it fails: a sentence for the terminal.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A self-hosted platform for Odoo projects: every branch a running Odoo.
#[derive(Debug, Parser)]
#[command(name = "ops", version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    flags: ConfigFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything: PostgreSQL, the proxy, the console and a worker.
    Up,
    /// Routes browsers to the console and to environments.
    Proxy,
    /// Serves the console and the API, behind `ops proxy`.
    Serve(serve::ServeArgs),
    /// Builds what was pushed and keeps environments running.
    Work,
    /// Lets other machines of the installation in, or is the way of a joined machine to the console's.
    Node,
    /// Brings the ops database to this program's schema.
    Migrate,
    /// Shows or checks the configuration.
    #[command(subcommand)]
    Config(config_check::ConfigCommand),
    #[command(flatten)]
    Api(cli::Command),
}

fn main() -> ExitCode {
    if let Some(code) = hook::called_as_link() {
        return code;
    }
    match start(Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("ops: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> Result<ExitCode, Failure> {
    // Before the configuration is loaded: these work when it has problems.
    if let Command::Config(command) = &cli.command {
        return Ok(config_check::run(command, &cli.flags.0)?);
    }
    let config = Config::load(&cli.flags.0, |name| std::env::var(name).ok())?;
    start_log(&config)?;
    up::parent::watch();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(dispatch(cli, config))
}

async fn dispatch(cli: Cli, config: Config) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Up => up::run(config, cli.flags.to_arguments()).await,
        Command::Proxy => proxy::run(&config, ops::options(&config, ops::Role::Worker)?).await,
        Command::Serve(args) => serve::run(config, args).await,
        Command::Work => work::run(config).await,
        Command::Node => node::run(config).await,
        Command::Migrate => migrate::run(&config).await,
        // Answered before the configuration was loaded.
        Command::Config(_) => Ok(ExitCode::SUCCESS),
        Command::Api(command) => Ok(cli::run(command, &config).await?),
    }
}

/// Logs go to standard error, which the supervisor collects.
fn start_log(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| format!("log: {error}"))?;
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // The supervisor puts lines into files: colours are for terminals.
    let format = format.with_ansi(std::io::stderr().is_terminal());
    // When the supervisor was killed nobody reads the log, and a complaint about that would be a panic.
    let format = format.log_internal_errors(false);
    if config.log_json { format.json().try_init() } else { format.with_target(false).try_init() }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    const DOCUMENTS: [&str; 8] = [
        include_str!("../../README.md"),
        include_str!("../../CONTRIBUTING.md"),
        include_str!("../../docs/ARCHITECTURE.md"),
        include_str!("../../docs/DATA_BOUNDARIES.md"),
        include_str!("../../docs/FAULTS.md"),
        include_str!("../../docs/HOSTS.md"),
        include_str!("../../docs/RECONCILERS.md"),
        include_str!("../../docs/RUN_LIFECYCLE.md"),
    ];

    /// Why what a document tells people to type would be refused.
    fn wrong(line: &str) -> Option<String> {
        let root = Cli::command();
        let mut path = vec![&root];
        for word in line.split_whitespace() {
            let command = path[path.len() - 1];
            if let Some(flag) = word.strip_prefix("--") {
                let known =
                    |command: &&clap::Command| command.get_arguments().any(|a| a.get_long() == Some(flag));
                if !path.iter().any(known) {
                    return Some(format!("{line}: --{flag}"));
                }
            } else if command.has_subcommands() {
                let mut found = None;
                for name in word.split('|') {
                    found = command.find_subcommand(name);
                    if found.is_none() {
                        return Some(format!("{line}: {name}"));
                    }
                }
                path.extend(found);
            }
        }
        None
    }

    #[test]
    fn the_commands_that_the_documents_name_exist() {
        assert_eq!(wrong("worker confirm HOST"), None);
        assert!(wrong("worker konfirm HOST").is_some() && wrong("gc --dryrun").is_some());
        let mut named = 0;
        for document in DOCUMENTS {
            // What is between marks of code: each line of it that calls the program.
            for line in document.split('`').skip(1).step_by(2).flat_map(str::lines) {
                let Some(line) = line.trim().strip_prefix("ops ").filter(|line| !line.starts_with('-'))
                else {
                    continue;
                };
                let line = line.split('#').next().unwrap_or_default();
                assert_eq!(wrong(line), None);
                named += 1;
            }
        }
        assert!(named > 20, "{named}");
    }
}
