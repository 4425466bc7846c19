//! A flag for every key of the configuration, made from the keys themselves.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use odooops::config::{FILE_FLAG, Flags, KEYS};
use std::path::PathBuf;

/// The flags that were given, before environment and file are looked at.
#[derive(Debug, Clone, Default)]
pub struct ConfigFlags(pub Flags);

impl ConfigFlags {
    /// The same flags again, for a process that is to read the same configuration.
    pub fn to_arguments(&self) -> Vec<String> {
        let file = self.0.file.iter().flat_map(|file| [format!("--{FILE_FLAG}"), file.display().to_string()]);
        let keys = KEYS.iter().filter_map(|key| Some((key, self.0.keys.get(key.name)?)));
        // One argument each: a value may begin with a dash.
        file.chain(keys.map(|(key, value)| format!("--{}={value}", key.flag()))).collect()
    }
}

impl Args for ConfigFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE_FLAG)
            .long(FILE_FLAG)
            .global(true)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("The configuration file [default: config.toml in the data directory]")
            .help_heading("Configuration");
        KEYS.iter().fold(command.arg(file), |command, key| {
            let flag = Arg::new(key.name)
                .long(key.flag())
                .global(true)
                .value_name(key.name.to_ascii_uppercase())
                .help(format!("{} [env: {}]", key.documentation(), key.variable()))
                .help_heading("Configuration")
                // The short help shows what a command is about; `--help` shows every key.
                .hide_short_help(key.name != "data_dir");
            command.arg(flag)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.file = matches.get_one::<PathBuf>(FILE_FLAG).cloned();
        let given =
            KEYS.iter().filter_map(|key| Some((key.name, matches.get_one::<String>(key.name)?.clone())));
        self.0.keys = given.collect();
        Ok(())
    }
}
