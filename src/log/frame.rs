//! What the daemon sends of a log: a time and a piece of output.

use bytes::{Buf, Bytes};
use chrono::DateTime;

const SECOND: usize = "2026-11-21T01:37:29.".len();
const WHOLE: usize = "2026-11-21T01:37:29.000000000Z".len();

#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub stderr: bool,
    /// Nanoseconds since 1970, of the daemon's clock.
    pub nanos: i64,
    pub payload: Bytes,
}

/// Reads times. Many frames in a row are of one second: only the first of them is read as a date.
#[derive(Debug, Default)]
pub struct Clock {
    text: [u8; SECOND],
    nanos: i64,
}

impl Clock {
    /// None: not what a daemon sends.
    pub fn frame(&mut self, stderr: bool, mut message: Bytes) -> Option<Frame> {
        let end = message.iter().take(64).position(|byte| *byte == b' ')?;
        let nanos = self.nanos(&message[..end])?;
        message.advance(end + 1);
        Some(Frame { stderr, nanos, payload: message })
    }

    fn nanos(&mut self, time: &[u8]) -> Option<i64> {
        if time.len() == WHOLE && time[..SECOND] == self.text && time[WHOLE - 1] == b'Z' {
            return time[SECOND..WHOLE - 1]
                .iter()
                .try_fold(0, |nanos, digit| {
                    digit.is_ascii_digit().then(|| nanos * 10 + i64::from(digit - b'0'))
                })
                .map(|nanos| self.nanos + nanos);
        }
        let nanos =
            DateTime::parse_from_rfc3339(std::str::from_utf8(time).ok()?).ok()?.timestamp_nanos_opt()?;
        if time.len() == WHOLE && time[WHOLE - 1] == b'Z' {
            self.text.copy_from_slice(&time[..SECOND]);
            self.nanos = nanos - nanos.rem_euclid(1_000_000_000);
        }
        Some(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_alike_by_either_way() {
        let mut clock = Clock::default();
        for (time, nanos) in [
            ("2026-11-21T01:37:29.000000000Z", 0),
            ("2026-11-21T01:37:29.123456789Z", 123_456_789),
            ("2026-11-21T01:37:29.999999999Z", 999_999_999),
            ("2026-11-21T01:37:30.000000001Z", 1_000_000_001),
            ("2026-11-21T03:37:30.000000001+02:00", 1_000_000_001),
            ("2026-11-21T01:37:29.5Z", 500_000_000),
            ("2026-11-21T01:37:29Z", 0),
        ] {
            let frame = clock.frame(true, format!("{time} a b\n").into()).unwrap();
            assert_eq!(frame.nanos, 1_795_225_049_000_000_000 + nanos, "{time}");
            assert_eq!((frame.stderr, &frame.payload[..]), (true, &b"a b\n"[..]));
        }
        for broken in [
            "",
            "x y",
            "2026-11-21T01:37:29.00000000xZ y",
            "2026-11-21T01:37:29.000000000Z",
            "2026-13-01T00:00:00Z x",
        ] {
            assert_eq!(clock.frame(false, broken.to_owned().into()), None, "{broken}");
        }
    }
}
