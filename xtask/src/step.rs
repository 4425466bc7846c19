//! Runs one command at a time so that somebody can watch: its name, the time it has taken, the last line it
//! printed. Everything it prints goes to a log file, which is shown when it fails.

use crate::machine::Machine;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How a failed command's log is shown: whole when it is at most this long, its end otherwise.
const SHOWN_LINES: usize = 400;
/// How often somebody who reads a file, not a terminal, hears that a step is still going on.
const REMINDER: Duration = Duration::from_secs(20);
/// How long after a command's end its output may still be open (a background process can hold it forever).
const LINGER: Duration = Duration::from_secs(2);

pub struct Step<'a> {
    machine: &'a Machine,
    title: String,
    limit: Option<Duration>,
    patience: Option<(Duration, &'static str)>,
}

pub struct Finished {
    pub status: Option<ExitStatus>,
    pub log: PathBuf,
    pub took: Duration,
}

impl Finished {
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    pub fn text(&self) -> String {
        std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }
}

impl<'a> Step<'a> {
    pub fn new(machine: &'a Machine, title: impl Into<String>) -> Self {
        Self { machine, title: title.into(), limit: None, patience: None }
    }

    /// Ends the command when it takes longer.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Ends the command when it has not printed `sign` after this time: for something that may never answer.
    pub fn expecting(mut self, sign: &'static str, patience: Duration) -> Self {
        self.patience = Some((patience, sign));
        self
    }

    /// Runs to the end; a failure is an error, after its log was shown.
    pub fn run(self, command: Command) -> Result<Finished> {
        let title = self.title.clone();
        let finished = self.attempt(command)?;
        if !finished.succeeded() {
            show_log(&finished);
            bail!("{title} failed ({})", describe(finished.status));
        }
        Ok(finished)
    }

    /// Runs to the end; the caller judges.
    pub fn attempt(self, mut command: Command) -> Result<Finished> {
        let log_path = self.machine.scratch("log")?.join(format!("{}.log", file_name(&self.title)));
        let mut log =
            File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
        // Without the environment: passwords travel in it.
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        writeln!(log, "$ {}", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))?;
        let started = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}: cannot start {:?}", self.title, command.get_program()))?;
        let lines = lines_of(&mut child);
        let mut display = Display::new(&self.title);
        let status = self.follow(&mut child, &lines, &mut log, &mut display, started)?;
        let finished = Finished { status, log: log_path, took: started.elapsed() };
        display.end(&finished);
        Ok(finished)
    }

    fn follow(
        &self,
        child: &mut Child,
        lines: &Receiver<String>,
        log: &mut File,
        display: &mut Display,
        started: Instant,
    ) -> Result<Option<ExitStatus>> {
        let mut sign_seen = self.patience.is_none();
        let mut ended: Option<(Option<ExitStatus>, Instant)> = None;
        loop {
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    writeln!(log, "{line}")?;
                    sign_seen |= self.patience.is_some_and(|(_, sign)| line.contains(sign));
                    display.line(&line);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(match ended {
                        Some((status, _)) => status,
                        None => Some(child.wait()?),
                    });
                }
            }
            display.tick(started.elapsed());
            if let Some((status, at)) = ended {
                if at.elapsed() > LINGER {
                    return Ok(status);
                }
                continue;
            }
            if let Some(status) = child.try_wait()? {
                ended = Some((Some(status), Instant::now()));
                continue;
            }
            let elapsed = started.elapsed();
            let too_long = self.limit.is_some_and(|limit| elapsed > limit);
            let no_sign = !sign_seen && self.patience.is_some_and(|(patience, _)| elapsed > patience);
            if too_long || no_sign {
                writeln!(log, "ended by xtask after {}", seconds(elapsed))?;
                child.kill()?;
                child.wait()?;
                ended = Some((None, Instant::now()));
            }
        }
    }
}

/// Something xtask does itself, shown like a command.
pub fn own<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let result = work();
    let mark = if result.is_ok() { '✓' } else { '✗' };
    println!("{mark} {title}  {}", seconds(started.elapsed()));
    result
}

pub fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

pub fn show_log(finished: &Finished) {
    let text = finished.text();
    let lines: Vec<&str> = text.lines().collect();
    let hidden = lines.len().saturating_sub(SHOWN_LINES);
    if hidden > 0 {
        println!("  ... {hidden} earlier lines are in {}", finished.log.display());
    }
    for line in &lines[hidden..] {
        println!("  {line}");
    }
    println!("  (log: {})", finished.log.display());
}

fn describe(status: Option<ExitStatus>) -> String {
    status.map_or("it took too long".to_owned(), |status| status.to_string())
}

/// Both outputs of a command, line by line; a carriage return ends a line too (progress bars).
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, sender);
    }
    receiver
}

fn forward(from: impl Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&bytes);
            for part in text.split(['\r', '\n']).filter(|part| !part.trim().is_empty()) {
                if to.send(part.to_owned()).is_err() {
                    return;
                }
            }
            bytes.clear();
        }
    });
}

struct Display {
    title: String,
    last: String,
    width: Option<usize>,
    reminded: Duration,
    drawn: Instant,
}

impl Display {
    fn new(title: &str) -> Self {
        let width = std::io::stdout().is_terminal().then(terminal_width);
        if width.is_none() {
            println!("▸ {title}");
        }
        Self {
            title: title.to_owned(),
            last: String::new(),
            width,
            reminded: Duration::ZERO,
            drawn: Instant::now(),
        }
    }

    fn line(&mut self, line: &str) {
        self.last = without_escapes(line).trim().to_owned();
    }

    fn tick(&mut self, elapsed: Duration) {
        match self.width {
            Some(width) if self.drawn.elapsed() > Duration::from_millis(90) => {
                self.drawn = Instant::now();
                let text = format!("▸ {}  {}  {}", self.title, seconds(elapsed), self.last);
                let cut: String = text.chars().take(width.saturating_sub(1)).collect();
                print!("\r\x1b[2K{cut}");
                let _ = std::io::stdout().flush();
            }
            None if elapsed > self.reminded + REMINDER => {
                self.reminded = elapsed;
                let last: String = self.last.chars().take(100).collect();
                println!("  {}  {}  {last}", self.title, seconds(elapsed));
            }
            _ => {}
        }
    }

    fn end(&mut self, finished: &Finished) {
        let mark = if finished.succeeded() { '✓' } else { '✗' };
        let start = if self.width.is_some() { "\r\x1b[2K" } else { "" };
        println!("{start}{mark} {}  {}", self.title, seconds(finished.took));
    }
}

fn terminal_width() -> usize {
    let output = Command::new("stty").arg("size").stdin(Stdio::inherit()).output().ok();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|w| w.parse().ok()).filter(|w| *w > 20).unwrap_or(100)
}

/// Colours and cursor movements would break the one line we draw.
fn without_escapes(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => {
                if characters.next() == Some('[') {
                    let _ = characters.by_ref().find(|c| c.is_ascii_alphabetic());
                }
            }
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}

fn file_name(title: &str) -> String {
    title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out_of_a_shown_line() {
        assert_eq!(without_escapes("\x1b[1m\x1b[32m   Compiling\x1b[0m serde"), "   Compiling serde");
    }

    #[test]
    fn times_read_like_times() {
        assert_eq!(seconds(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn a_command_that_fails_is_an_error_and_its_output_is_kept() -> Result<()> {
        let machine = Machine::look()?;
        let mut command = Command::new("ls");
        command.arg("/nowhere-at-all").env("PGPASSWORD", "hunter2");
        let finished = Step::new(&machine, "test: a failing command").attempt(command)?;
        assert!(!finished.succeeded());
        assert!(finished.text().contains("nowhere-at-all"));
        assert!(!finished.text().contains("hunter2"), "no secret of the environment is written down");
        Ok(())
    }

    #[test]
    fn a_command_without_the_expected_sign_is_ended() -> Result<()> {
        let machine = Machine::look()?;
        let mut command = Command::new("sleep");
        command.arg("600");
        let step =
            Step::new(&machine, "test: a silent command").expecting("hello", Duration::from_millis(300));
        let finished = step.attempt(command)?;
        assert!(finished.status.is_none());
        assert!(finished.took < Duration::from_secs(60));
        Ok(())
    }
}
