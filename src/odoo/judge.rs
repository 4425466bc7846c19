//! Did the build work? Odoo's exit code alone does not say: it is 0 when a named module is unknown, and it was 0
//! after failed tests before series 17. Truth is the exit code, what the database says of the modules, and the log,
//! together. The judge reads the log line by line as it arrives and keeps only what the verdict needs.

use super::Record;
use crate::run::LogLevel;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Green,
    /// It works; there were warnings.
    Yellow,
    Red,
}

/// Why a verdict is not green.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonCode {
    /// The process ended with an exit code other than 0, or by a signal.
    Exit,
    /// It ended before it had said that it would.
    Killed,
    /// The log lacks `Modules loaded.`.
    NotLoaded,
    Traceback,
    Error,
    FailedTest,
    /// A module that was asked for is not installed.
    NotInstalled,
    /// A module is left between two states.
    Pending,
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: ReasonCode,
    pub text: String,
    /// Its line in what was fed, counted from 1; None where it comes from elsewhere.
    pub line: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// One sentence for people.
    pub summary: String,
    /// Most important first; bounded.
    pub reasons: Vec<Reason>,
    pub warnings: usize,
    pub errors: usize,
    /// `TestSum.test_sum`; bounded.
    pub failed_tests: Vec<String>,
    /// How many tests ran, where any were to run.
    pub tests: Option<u64>,
    /// The first record of level ERROR or above, with its traceback; bounded.
    pub first_error: Option<String>,
}

const MAX_REASONS: usize = 20;
const MAX_FAILED: usize = 200;
const MAX_TEXT: usize = 300;
const MAX_FIRST_ERROR: usize = 16 * 1024;
const TRACEBACK: &str = "Traceback (most recent call last):";

#[derive(Debug)]
pub struct Judge {
    wanted: Vec<String>,
    line: u64,
    loaded: bool,
    shut_down: bool,
    warnings: usize,
    errors: usize,
    tracebacks: usize,
    first_warning: Option<Reason>,
    error_reasons: Vec<Reason>,
    failed_tests: Vec<String>,
    tests: Option<u64>,
    first_error: Option<String>,
    /// Lines that belong to the first error are still coming.
    in_first_error: bool,
    exception: ExceptionText,
    /// What the first error with a traceback ended in: `UserError: ...`.
    headline: Option<String>,
}

/// Reads the exception out of a traceback: the first line after the frames, and what follows it.
#[derive(Debug, Default)]
struct ExceptionText {
    in_frames: bool,
    text: Option<String>,
}

impl ExceptionText {
    fn feed(&mut self, line: &str) {
        if line.trim_start().starts_with(TRACEBACK) {
            // A chain of exceptions: the last one is what arrived at the top.
            *self = Self { in_frames: true, text: None };
        } else if self.in_frames {
            if !line.starts_with(' ') && !line.trim().is_empty() {
                self.in_frames = false;
                self.text = Some(without_module(line.trim()).to_owned());
            }
        } else if let Some(text) = &mut self.text
            && text.len() < MAX_TEXT
            && !line.trim().is_empty()
        {
            text.push(' ');
            text.push_str(line.trim());
        }
    }
}

impl Judge {
    /// A judge of a run that was asked to install `wanted`.
    pub fn new(wanted: &[String]) -> Self {
        Self {
            wanted: wanted.to_vec(),
            line: 0,
            loaded: false,
            shut_down: false,
            warnings: 0,
            errors: 0,
            tracebacks: 0,
            first_warning: None,
            error_reasons: Vec::new(),
            failed_tests: Vec::new(),
            tests: None,
            first_error: None,
            in_first_error: false,
            exception: ExceptionText::default(),
            headline: None,
        }
    }

    /// The next line of the log, in order.
    pub fn feed(&mut self, line: &str) {
        self.line += 1;
        match Record::parse(line) {
            Some(record) => self.record(&record, line),
            None => self.continuation(line),
        }
    }

    fn record(&mut self, record: &Record<'_>, line: &str) {
        self.end_record();
        let message = record.message.trim();
        match record.level {
            LogLevel::Error => {
                self.errors += 1;
                let failed = failed_test(record.logger, message);
                let code = if failed.is_some() { ReasonCode::FailedTest } else { ReasonCode::Error };
                if let Some(test) = failed
                    && self.failed_tests.len() < MAX_FAILED
                {
                    self.failed_tests.push(clip(test));
                }
                self.push(code, message);
                if self.first_error.is_none() {
                    self.first_error = Some(clip_to(line, MAX_FIRST_ERROR));
                    self.in_first_error = true;
                }
            }
            LogLevel::Warn => {
                self.warnings += 1;
                if self.first_warning.is_none() {
                    let text = format!("{} ({})", clip(message), clip(record.logger));
                    self.first_warning =
                        Some(Reason { code: ReasonCode::Warning, text, line: Some(self.line) });
                }
            }
            LogLevel::Info | LogLevel::Debug => {}
        }
        match record.logger {
            "odoo.modules.loading" if message == "Modules loaded." => self.loaded = true,
            "odoo.service.server" if message == "Initiating shutdown" => self.shut_down = true,
            "odoo.tests.result" => self.tests = count_of_tests(message).or(self.tests),
            _ => {}
        }
    }

    fn continuation(&mut self, line: &str) {
        if line.trim_start().starts_with(TRACEBACK) {
            self.tracebacks += 1;
            if self.tracebacks == 1 {
                self.push(ReasonCode::Traceback, "the log has a traceback");
            }
        }
        self.exception.feed(line);
        if self.in_first_error
            && let Some(text) = &mut self.first_error
            && text.len() < MAX_FIRST_ERROR
        {
            text.push('\n');
            text.push_str(&clip_to(line, MAX_FIRST_ERROR - text.len()));
        }
    }

    fn end_record(&mut self) {
        self.in_first_error = false;
        if let Some(text) = std::mem::take(&mut self.exception).text
            && self.headline.is_none()
        {
            self.headline = Some(clip(&text));
        }
    }

    fn push(&mut self, code: ReasonCode, text: &str) {
        if self.error_reasons.len() < MAX_REASONS {
            self.error_reasons.push(Reason { code, text: clip(text), line: Some(self.line) });
        }
    }

    /// The verdict. `exit_code` is None when the process was not seen to end; `states` are names and states of the
    /// database's modules.
    pub fn finish(mut self, exit_code: Option<i64>, states: &[(String, String)]) -> Judgement {
        self.end_record();
        let mut reasons = self.what_modules_say(states);
        let installed_all = reasons.is_empty();
        reasons.append(&mut self.error_reasons);
        let mut add = |code, text: &str| reasons.push(Reason { code, text: text.to_owned(), line: None });
        match exit_code {
            Some(0) => {}
            Some(code @ 129..=192) => {
                add(ReasonCode::Exit, &format!("Odoo was ended by signal {}", code - 128));
            }
            Some(code) => add(ReasonCode::Exit, &format!("Odoo ended with exit code {code}")),
            None => add(ReasonCode::Exit, "Odoo's end was not seen"),
        }
        if !self.shut_down {
            add(ReasonCode::Killed, "Odoo ended before it had finished");
        }
        if !self.loaded {
            add(ReasonCode::NotLoaded, "Odoo did not finish loading the modules");
        }
        let red = !reasons.is_empty();
        let verdict = match (red, self.warnings) {
            (true, _) => Verdict::Red,
            (false, 0) => Verdict::Green,
            (false, _) => Verdict::Yellow,
        };
        let summary = match verdict {
            Verdict::Red => self.red_sentence(&reasons, installed_all),
            Verdict::Yellow => {
                let first = self.first_warning.as_ref().map_or("", |w| w.text.as_str());
                match self.warnings {
                    1 => format!("{}; one warning: {first}", self.done_sentence()),
                    n => format!("{}; {n} warnings, the first: {first}", self.done_sentence()),
                }
            }
            Verdict::Green => self.done_sentence(),
        };
        reasons.extend(self.first_warning.take());
        reasons.truncate(MAX_REASONS);
        Judgement {
            verdict,
            summary,
            reasons,
            warnings: self.warnings,
            errors: self.errors,
            failed_tests: self.failed_tests,
            tests: self.tests,
            first_error: self.first_error,
        }
    }

    fn what_modules_say(&self, states: &[(String, String)]) -> Vec<Reason> {
        let reason = |code, text| Reason { code, text, line: None };
        let mut reasons = Vec::new();
        for wanted in &self.wanted {
            match states.iter().find(|(name, _)| name == wanted) {
                Some((_, state)) if state == "installed" => {}
                Some((_, state)) => reasons.push(reason(
                    ReasonCode::NotInstalled,
                    format!("the module {wanted} is {} after the installation", clip(state)),
                )),
                None => reasons.push(reason(
                    ReasonCode::NotInstalled,
                    format!("Odoo does not know the module {wanted}"),
                )),
            }
        }
        for (name, state) in states.iter().filter(|(_, state)| state.starts_with("to ")) {
            if !self.wanted.contains(name) {
                reasons.push(reason(
                    ReasonCode::Pending,
                    format!("the module {} is left in state {:?}", clip(name), clip(state)),
                ));
            }
        }
        reasons
    }

    fn done_sentence(&self) -> String {
        let modules = match self.wanted.len() {
            0 => "No modules to install".to_owned(),
            1 => format!("{} installed", self.wanted[0]),
            n => format!("{n} modules installed"),
        };
        match self.tests {
            Some(1) => format!("{modules}, 1 test passed"),
            Some(n) if n > 0 => format!("{modules}, {n} tests passed"),
            _ => modules,
        }
    }

    fn red_sentence(&self, reasons: &[Reason], installed_all: bool) -> String {
        let why = self.headline.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        if let Some(first) = self.failed_tests.first() {
            return match self.failed_tests.len() {
                1 => format!("The test {first} failed{why}"),
                n => format!("{n} tests failed, the first is {first}{why}"),
            };
        }
        if let Some(text) = &self.headline {
            return text.clone();
        }
        // The database's word is clearer than the log's when a module is missing.
        let first = if installed_all {
            reasons.iter().find(|reason| reason.code == ReasonCode::Error).or(reasons.first())
        } else {
            reasons.first()
        };
        first.map_or_else(|| "The build failed".to_owned(), |reason| capitalised(&reason.text))
    }
}

/// `FAIL: TestSum.test_sum`, as a test's logger prints it.
fn failed_test<'a>(logger: &str, message: &'a str) -> Option<&'a str> {
    if !logger.contains(".tests.") && !logger.starts_with("odoo.tests.") {
        return None;
    }
    message.strip_prefix("FAIL: ").or_else(|| message.strip_prefix("ERROR: "))
}

/// `1 failed, 0 error(s) of 2 tests when loading database 'x'`.
fn count_of_tests(message: &str) -> Option<u64> {
    let (_, rest) = message.split_once(" error(s) of ")?;
    rest.split(' ').next()?.parse().ok()
}

/// `odoo.exceptions.UserError: text` -> `UserError: text`.
fn without_module(exception: &str) -> &str {
    let name_end = exception.find(':').unwrap_or(exception.len());
    let name = &exception[..name_end];
    if name.contains(' ') {
        return exception;
    }
    name.rfind('.').map_or(exception, |dot| &exception[dot + 1..])
}

fn clip(text: &str) -> String {
    clip_to(text, MAX_TEXT)
}

fn clip_to(text: &str, max: usize) -> String {
    if text.len() <= max { text.to_owned() } else { text[..text.floor_char_boundary(max)].to_owned() + "…" }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
