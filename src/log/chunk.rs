//! Lines on their way to `ops.append_log_chunks`: as the text that PostgreSQL keeps, not one by one.

use crate::run::LogLevel;
use chrono::{DateTime, Utc};

/// Bounds of one chunk. A page of a log reads whole chunks, so they are small; compression wants them large.
const CHUNK_LINES: usize = 2_000;
const CHUNK_BYTES: usize = 128 * 1024;
/// Lines of one chunk are at most half an hour apart: their times are kept as microseconds in 32 bits.
const CHUNK_MICROS: i64 = 1800 * 1_000_000;
/// Bounds of what goes in one transaction. A line has up to 1 MiB.
const BATCH_LINES: usize = 16_000;
const BATCH_BYTES: usize = 1024 * 1024;

/// A line that has been stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collected<'a> {
    pub level: LogLevel,
    pub message: &'a str,
    /// More of the same line follows.
    pub continued: bool,
    pub at: DateTime<Utc>,
}

/// Chunks that go in one transaction, by column.
#[derive(Debug, Default)]
pub struct Batch {
    /// Each line with its LF.
    pub bodies: Vec<String>,
    /// A letter a line.
    pub marks: Vec<String>,
    pub lines: Vec<i32>,
    pub first_at: Vec<DateTime<Utc>>,
    /// Microseconds since `first_at`, of the lines of all chunks.
    pub offsets: Vec<i32>,
    bytes: usize,
}

impl Batch {
    /// `line` has no LF.
    pub fn add(&mut self, level: LogLevel, line: &str, continued: bool, nanos: i64) {
        let offset = self.place(line.len(), nanos);
        self.offsets.push(offset);
        self.bytes += line.len() + 1;
        if let (Some(body), Some(marks), Some(lines)) =
            (self.bodies.last_mut(), self.marks.last_mut(), self.lines.last_mut())
        {
            body.push_str(line);
            body.push('\n');
            marks.push(mark(level, continued));
            *lines += 1;
        }
    }

    /// Makes room in the last chunk or begins one; tells the line's time in it.
    fn place(&mut self, length: usize, nanos: i64) -> i32 {
        if let (Some(body), Some(lines), Some(first_at)) =
            (self.bodies.last(), self.lines.last(), self.first_at.last())
        {
            let micros = nanos.div_euclid(1000) - first_at.timestamp_micros();
            if body.len() + length < CHUNK_BYTES
                && (*lines as usize) < CHUNK_LINES
                && micros.abs() < CHUNK_MICROS
                && let Ok(offset) = i32::try_from(micros)
            {
                return offset;
            }
        }
        self.bodies.push(String::new());
        self.marks.push(String::new());
        self.lines.push(0);
        self.first_at.push(DateTime::from_timestamp_nanos(nanos.div_euclid(1000) * 1000));
        0
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Bytes of text.
    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_full(&self) -> bool {
        self.offsets.len() >= BATCH_LINES || self.bytes >= BATCH_BYTES
    }

    pub fn lines(&self) -> impl Iterator<Item = Collected<'_>> {
        let texts = self.bodies.iter().flat_map(|body| body.split_terminator('\n'));
        let marks = self.marks.iter().flat_map(|marks| marks.chars());
        let first = self.first_at.iter().zip(&self.lines);
        let first = first.flat_map(|(at, lines)| std::iter::repeat_n(*at, *lines as usize));
        texts.zip(marks).zip(first.zip(&self.offsets)).map(|((message, mark), (at, offset))| Collected {
            level: level(mark),
            message,
            continued: mark.is_ascii_uppercase(),
            at: at + chrono::TimeDelta::microseconds(i64::from(*offset)),
        })
    }
}

fn mark(level: LogLevel, continued: bool) -> char {
    let mark = match level {
        LogLevel::Debug => 'd',
        LogLevel::Info => 'i',
        LogLevel::Warn => 'w',
        LogLevel::Error => 'e',
    };
    if continued { mark.to_ascii_uppercase() } else { mark }
}

fn level(mark: char) -> LogLevel {
    match mark.to_ascii_lowercase() {
        'd' => LogLevel::Debug,
        'w' => LogLevel::Warn,
        'e' => LogLevel::Error,
        _ => LogLevel::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines() -> impl Strategy<Value = Vec<(LogLevel, String, bool, i64)>> {
        let level =
            prop::sample::select(vec![LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error]);
        let text = prop_oneof![8 => "[ -~äö]{0,30}", 1 => (0..300_000usize).prop_map(|n| "x".repeat(n))];
        let step = prop_oneof![8 => 0..1_000_000i64, 1 => -5_000_000_000_000..5_000_000_000_000i64];
        prop::collection::vec((level, text, any::<bool>(), step), 0..60).prop_map(|lines| {
            let mut now = 1_700_000_000_000_000_000;
            let at = |line: (LogLevel, String, bool, i64)| {
                now += line.3;
                (line.0, line.1, line.2, now)
            };
            lines.into_iter().map(at).collect()
        })
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(lines in lines()) {
            let mut batch = Batch::default();
            for (level, text, continued, nanos) in &lines {
                batch.add(*level, text, *continued, *nanos);
            }
            let out: Vec<_> = batch
                .lines()
                .map(|line| (line.level, line.message.to_owned(), line.continued, line.at.timestamp_micros()))
                .collect();
            let expected: Vec<_> =
                lines.into_iter().map(|line| (line.0, line.1, line.2, line.3.div_euclid(1000))).collect();
            prop_assert_eq!(out, expected);
            for (body, lines) in batch.bodies.iter().zip(&batch.lines) {
                prop_assert!(*lines == 1 || body.len() <= CHUNK_BYTES + 1);
            }
        }

        #[test]
        fn chunks_are_bounded(count in 0..10_000usize) {
            let mut batch = Batch::default();
            for _ in 0..count {
                batch.add(LogLevel::Info, "", false, 0);
            }
            prop_assert!(batch.lines.iter().all(|lines| (1..=CHUNK_LINES as i32).contains(lines)));
            prop_assert_eq!(batch.lines().count(), count);
        }
    }
}
