//! The command line as scripts use it: the program's own parser, the socket, what it prints, what is in the database
//! afterwards, and how it ends.

mod gc;
mod placement;
mod platform;
mod projects;
mod runs;

use super::{Fixture, streams::served};
use crate::cli;
use clap::{CommandFactory, Parser};
use odooops::config::Config;
use serde_json::Value;
use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

/// Ten times what anything here should take, and more: a test waits for the event.
const SOON: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: cli::Command,
}

/// With the process's own streams.
pub async fn run(config: &Config, line: &str) -> Result<ExitCode, String> {
    let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
    cli::run(line.command, config).await.map_err(|error| error.to_string())
}

/// What a command wrote so far.
#[derive(Clone)]
struct Written(Arc<watch::Sender<String>>);

impl Written {
    fn nothing() -> Self {
        Self(Arc::new(watch::Sender::new(String::new())))
    }

    fn text(&self) -> String {
        self.0.borrow().clone()
    }

    async fn until(&self, says: &str) {
        let mut written = self.0.subscribe();
        let said = timeout(SOON, written.wait_for(|text| text.contains(says))).await;
        assert!(said.is_ok(), "never said {says:?}: {}", self.text());
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send_modify(|text| text.push_str(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A platform with its socket served, and a terminal on the same machine.
struct Shell {
    f: Fixture,
    out: Written,
    notes: Written,
}

impl Shell {
    async fn new() -> Self {
        Self::of(Fixture::new().await).await
    }

    async fn of(f: Fixture) -> Self {
        served(&f).await;
        let shell = Self { f, out: Written::nothing(), notes: Written::nothing() };
        // As after every migration: `ops status` tells of rows that lie in no day's partition, once PostgreSQL has
        // counted them.
        shell.set("select ops.ensure_partitions()").await;
        shell
    }

    /// How it ended; what it wrote is in `out` and `notes`.
    async fn run(&self, line: &str) -> Result<ExitCode, String> {
        self.out.0.send_replace(String::new());
        self.notes.0.send_replace(String::new());
        let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        let streams = cli::Streams::new(self.out.clone(), self.notes.clone());
        cli::run_on(streams, line.command, &self.f.web.config).await.map_err(|error| error.to_string())
    }

    async fn ends(&self, line: &str, number: u8) -> String {
        let code = self.run(line).await.unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(is(&code, number), "{line}: {code:?} {} {}", self.out.text(), self.notes.text());
        self.out.text()
    }

    /// What it says when all went well.
    async fn says(&self, line: &str) -> String {
        self.ends(line, 0).await
    }

    async fn json(&self, line: &str) -> Value {
        let text = self.says(&format!("{line} --json")).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    }

    /// Why it is refused.
    async fn refuses(&self, line: &str, says: &str) {
        let error = self.run(line).await.expect_err(line);
        assert!(error.contains(says), "{line}: {error}");
        assert_eq!(self.out.text(), "", "{line}");
    }

    /// What the database says: the first column of the one row.
    #[expect(clippy::disallowed_methods, reason = "each test asks for something else")]
    async fn truth(&self, sql: &str) -> String {
        let answer = format!("select (q.answer)::text from ({sql}) q (answer)");
        let mut conn = self.f.superuser().await;
        let answer: Option<String> = sqlx::query_scalar(&answer).fetch_one(&mut conn).await.unwrap();
        answer.unwrap_or_else(|| "null".to_owned())
    }

    async fn set(&self, sql: &str) {
        sqlx::raw_sql(sql).execute(&mut self.f.superuser().await).await.unwrap();
    }
}

/// `ExitCode` tells its number to nobody but the operating system, and shows it.
fn is(code: &ExitCode, number: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(number))
}

/// It needs two machines: its tests are those of `odooops::node::join`.
const ELSEWHERE: [&str; 1] = ["ops worker join"];

const TESTS: [&str; 6] = [
    include_str!("inside.rs"),
    include_str!("command_line/gc.rs"),
    include_str!("command_line/placement.rs"),
    include_str!("command_line/platform.rs"),
    include_str!("command_line/projects.rs"),
    include_str!("command_line/runs.rs"),
];

#[test]
fn every_command_has_a_test() {
    fn leaves(path: &str, command: &clap::Command, into: &mut Vec<String>) {
        match command.get_subcommands().filter(|command| command.get_name() != "help").collect::<Vec<_>>() {
            none if none.is_empty() => into.push(path.to_owned()),
            some => some.iter().for_each(|next| leaves(&format!("{path} {}", next.get_name()), next, into)),
        }
    }
    let mut commands = Vec::new();
    leaves("ops", &Line::command(), &mut commands);
    assert!(commands.contains(&"ops branch on-push".to_owned()), "{commands:?}");
    for command in commands.iter().filter(|command| !ELSEWHERE.contains(&command.as_str())) {
        let is_run = |test: &str| {
            let ends = |rest: &str| rest.starts_with([' ', '"']);
            test.split(&format!("\"{command}")).skip(1).any(ends)
        };
        assert!(TESTS.into_iter().any(is_run), "{command} is run by no test");
    }
}
