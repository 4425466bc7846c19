//! `ops config show` and `ops config check`.

use clap::Subcommand;
use odooops::config::{Config, Flags, Problems};
use std::{io::Write, process::ExitCode};

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Every key with its value and what it means, as a file that could be used.
    Show,
    /// Prints each problem with what to do; the exit code tells whether there was one.
    Check,
}

pub fn run(command: &ConfigCommand, flags: &Flags) -> std::io::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match (command, Config::load(flags, |name| std::env::var(name).ok())) {
        (ConfigCommand::Show, Ok(config)) => {
            show(&config, &mut out)?;
            Ok(ExitCode::SUCCESS)
        }
        (ConfigCommand::Check, Ok(_)) => {
            writeln!(out, "The configuration is sound.")?;
            Ok(ExitCode::SUCCESS)
        }
        (_, Err(Problems(problems))) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn show(config: &Config, out: &mut impl Write) -> std::io::Result<()> {
    for (key, value) in config.show() {
        writeln!(out, "# {}", key.documentation())?;
        writeln!(out, "# --{}, {}", key.flag(), key.variable())?;
        match value.as_str() {
            // A default that is nothing has no spelling in TOML.
            "" => writeln!(out, "# {} = \"\"\n", key.name)?,
            text => writeln!(out, "{} = {:?}\n", key.name, text)?,
        }
    }
    Ok(())
}
