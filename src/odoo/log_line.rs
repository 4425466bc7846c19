//! Odoo's log lines: `2026-11-21 01:37:29,074 1 INFO prod odoo.registry: Registry loaded in 8.035s`, in UTC. A line
//! that does not look so belongs to the record before it (tracebacks).

use crate::run::LogLevel;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// The first line of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    pub time: DateTime<Utc>,
    pub pid: u32,
    pub level: LogLevel,
    /// None while Odoo has none (it prints `?`).
    pub database: Option<&'a str>,
    pub logger: &'a str,
    pub message: &'a str,
}

const TIME_LENGTH: usize = "2026-11-21 01:37:29,074".len();

impl<'a> Record<'a> {
    pub fn parse(line: &'a str) -> Option<Self> {
        // Most lines of a traceback fail here, cheaply.
        if line.as_bytes().get(4) != Some(&b'-') || line.as_bytes().get(TIME_LENGTH) != Some(&b' ') {
            return None;
        }
        let time = time(line.as_bytes().get(..TIME_LENGTH)?)?.and_utc();
        let mut words = line.get(TIME_LENGTH + 1..)?.splitn(4, ' ');
        let pid = words.next()?.parse().ok()?;
        let level = match words.next()? {
            "DEBUG" => LogLevel::Debug,
            "INFO" => LogLevel::Info,
            "WARNING" => LogLevel::Warn,
            "ERROR" | "CRITICAL" => LogLevel::Error,
            _ => return None,
        };
        let database = words.next()?;
        let rest = words.next()?;
        let (logger, message) = rest.split_once(": ").or_else(|| Some((rest.strip_suffix(':')?, "")))?;
        if logger.is_empty() || logger.contains(' ') {
            return None;
        }
        Some(Self { time, pid, level, database: (database != "?").then_some(database), logger, message })
    }
}

/// By hand: every line of every log comes by here, and a format string is ten times slower.
fn time(text: &[u8]) -> Option<NaiveDateTime> {
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0, |number: u32, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let ends = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':'), (19, b',')];
    if text.len() != TIME_LENGTH || ends.iter().any(|(at, sign)| text[*at] != *sign) {
        return None;
    }
    NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(5, 7)?, number(8, 10)?)?
        .and_hms_milli_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?)
}

/// The level of the record that begins with this line; None for a line that continues one.
pub fn level_of(line: &str) -> Option<LogLevel> {
    Record::parse(line).map(|record| record.level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_real_lines() {
        let line = "2026-11-21 01:37:29,074 1 INFO prod odoo.registry: Registry loaded in 8.035s";
        let record = Record::parse(line).unwrap();
        assert_eq!(record.time.to_rfc3339(), "2026-11-21T01:37:29.074+00:00");
        assert_eq!((record.pid, record.level, record.database), (1, LogLevel::Info, Some("prod")));
        assert_eq!((record.logger, record.message), ("odoo.registry", "Registry loaded in 8.035s"));

        let line = "2026-11-21 01:37:20,001 7 CRITICAL ? odoo.modules.module: Couldn't load module x";
        let record = Record::parse(line).unwrap();
        assert_eq!((record.level, record.database), (LogLevel::Error, None));
        let empty = "2026-11-21 01:37:20,001 7 WARNING db odoo.addons.x: ";
        assert_eq!(Record::parse(empty).unwrap().message, "");
        let trimmed = "2026-11-21 01:37:20,001 7 WARNING db odoo.addons.x:";
        assert_eq!(Record::parse(trimmed).unwrap().logger, "odoo.addons.x");
    }

    #[test]
    fn other_lines_continue_the_record() {
        for line in [
            "",
            "Traceback (most recent call last):",
            "  File \"/x.py\", line 3, in f",
            "2026-11-21 01:37:29 no milliseconds",
            "2026-13-21 01:37:29,074 1 INFO prod odoo: x",
            "2026-02-30 01:37:29,074 1 INFO prod odoo: x",
            "2026-11-21 01:37:29.074 1 INFO prod odoo: x",
            "2026-11-21 01:+7:29,074 1 INFO prod odoo: x",
            "2026-11-21 01:37:29,074 x INFO prod odoo: x",
            "2026-11-21 01:37:29,074 1 NOTICE prod odoo: x",
            "2026-11-21 01:37:29,074 1 INFO prod",
            "2026-11-21 01:37:29,074",
            "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöü",
        ] {
            assert_eq!(level_of(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in "\\PC{0,80}") {
            let _ = level_of(&line);
        }

        #[test]
        fn a_message_is_kept_whole(message in "\\PC{1,80}") {
            let line = format!("2026-11-21 01:37:29,074 12 WARNING ? a.b: {message}");
            prop_assert_eq!(Record::parse(&line).unwrap().message, message);
        }
    }
}
