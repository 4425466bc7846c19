//! Tables for people, JSON for programs.

use super::CliError;
use chrono::{DateTime, Utc};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// Where a command writes.
#[derive(Clone)]
pub struct Streams {
    out: Arc<Mutex<dyn Write + Send>>,
    error: Arc<Mutex<dyn Write + Send>>,
}

impl Streams {
    pub fn new(out: impl Write + Send + 'static, error: impl Write + Send + 'static) -> Self {
        Self { out: Arc::new(Mutex::new(out)), error: Arc::new(Mutex::new(error)) }
    }

    /// The process's own.
    pub fn standard() -> Self {
        Self::new(io::stdout(), io::stderr())
    }
}

#[derive(Clone)]
pub struct Output {
    pub json: bool,
    pub streams: Streams,
}

impl Output {
    /// One thing, worded for people by `text`.
    pub fn show<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        let text = if self.json {
            serde_json::to_string_pretty(value).map_err(io::Error::from)?
        } else {
            clean(&text(value))
        };
        Ok(self.say(&text)?)
    }

    /// Writes a line of the result. That nobody reads any more (`| head`) is the end, not a failure.
    pub fn say(&self, text: &str) -> io::Result<()> {
        match write(&self.streams.out, text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            done => done,
        }
    }

    /// Writes a line that is about the result and no part of it. Whether anybody reads it changes nothing.
    pub fn note(&self, text: &str) {
        write(&self.streams.error, &clean(text)).ok();
    }

    /// A list, as a table with these columns.
    pub fn list<T: Serialize>(
        &self,
        rows: &[T],
        columns: &[&str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        self.show(&rows, |rows| {
            let mut table = Table::new();
            table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
            table.set_header(columns.iter().copied());
            for one in *rows {
                table.add_row(row(one).iter().map(|cell| clean(cell)));
            }
            for column in table.column_iter_mut() {
                column.set_padding((0, 2));
            }
            table.trim_fmt()
        })
    }
}

fn write(to: &Mutex<dyn Write + Send>, text: &str) -> io::Result<()> {
    let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(to, "{text}")?;
    to.flush()
}

/// What others wrote (commit subjects, log lines) must not steer the terminal: no control characters but line breaks
/// and tabs, no marks that change the direction of text.
pub fn clean(text: &str) -> String {
    let kept = |c: char| {
        c == '\n'
            || c == '\t'
            || !(c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    };
    text.chars().filter(|c| kept(*c)).collect()
}

pub fn moment(at: Option<DateTime<Utc>>) -> String {
    at.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

/// `1m 42s`; a run that still goes on has none.
pub fn duration(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => seconds((to - from).num_seconds()),
        _ => String::new(),
    }
}

pub fn seconds(all: i64) -> String {
    match (all / 3600, all / 60 % 60, all % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

/// The text of something optional.
pub fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_15_text_of_others_cannot_steer_the_terminal() {
        let hostile = "\u{1b}]0;owned\u{7}a\u{1b}[2Jb\rc\u{202e}d\u{9b}31m\ttab\nline";
        assert_eq!(clean(hostile), "]0;owneda[2Jbcd31m\ttab\nline");
    }

    #[test]
    fn durations_read_like_durations() {
        assert_eq!((seconds(9), seconds(102), seconds(7320)), ("9s".into(), "1m 42s".into(), "2h 2m".into()));
    }
}
