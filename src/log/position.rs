//! Where in a container's output the collector stands.
//!
//! Docker gives no offsets. It gives frames (a line, or 16 KiB of a longer one) with a time in front, in the order in
//! which they were written. Within one of the two streams the times usually grow, but not surely: the pieces of a
//! long line share one time, and clocks are set back. So the mark is the highest time that a stored frame had
//! (`high`) and how many frames were stored from the first one of that time on (`behind`), it included; then how
//! many bytes of the next frame (`bytes`). Whatever the clock does, the first frame in the log whose time reaches
//! `high` is the one that counting began at. Frames whose line has no end yet are not stored and not counted: they
//! are read again.
//!
//! `since` spares the daemon from sending everything again: no unstored frame is older. It keeps a margin of ten
//! minutes for clocks that are set back while nobody reads.

use super::split::{SplitLine, Splitter};
use crate::run::LogLevel;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const CLOCK_MARGIN_SECONDS: i64 = 600;
const NANOS: i64 = 1_000_000_000;

/// One stream's mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mark {
    /// Nanoseconds since 1970, of the daemon's clock.
    pub high: i64,
    pub behind: u64,
    pub bytes: usize,
    /// Parts of an unfinished line were stored, with this level.
    pub open: Option<LogLevel>,
}

/// What is kept in `ops.log_sources.position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Seconds since 1970.
    pub since: i64,
    pub stdout: Mark,
    pub stderr: Mark,
    /// Bytes of both streams that are stored, or noted as lost.
    pub done: u64,
    pub count: Option<Count>,
}

/// What tells later how much was printed meanwhile ([`crate::docker::Shim`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub pid: u32,
    pub born: u64,
    /// How far the shim's count was ahead of what was read, when all was read.
    pub ahead: i64,
}

/// A piece of output that is ready to be stored.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Line {
        text: &'a str,
        /// Level of the line's first part, when this is a further one.
        open: Option<LogLevel>,
        continued: bool,
        /// When the line began.
        nanos: i64,
    },
    /// The log was rotated while nobody read it.
    Lost { nanos: i64 },
}

/// One stream of a container from a mark on.
#[derive(Debug)]
pub struct Cursor {
    mark: Mark,
    skip: Skip,
    splitter: Splitter,
    /// Frames that are not stored entirely: time and remaining bytes.
    frames: VecDeque<(i64, usize)>,
    /// Bytes taken that were not stored before.
    taken: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    /// Frames before the first one of the mark's time.
    Until,
    /// So many frames that are stored.
    Frames(u64),
    /// So many bytes of the next frame.
    Bytes(usize),
}

impl Cursor {
    /// `since` is what the daemon was asked for: with a mark before it, none of the stored frames comes again.
    pub fn new(mark: Mark, since: i64) -> Self {
        let seek = mark.behind > 0 && mark.high >= since.saturating_mul(NANOS);
        let skip = if seek { Skip::Until } else { Skip::Bytes(mark.bytes) };
        Self { mark, skip, splitter: Splitter::default(), frames: VecDeque::new(), taken: 0 }
    }

    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Whether this frame would come after a gap: what was stored last is not there any more.
    pub fn is_behind_gap(&self, nanos: i64) -> bool {
        self.skip == Skip::Until && nanos > self.mark.high
    }

    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Bytes taken that are in no line yet.
    pub fn pending(&self) -> u64 {
        self.splitter.pending() as u64
    }

    /// Takes a frame; `piece` gets what is complete with it. The level that it answers is the line's.
    pub fn push(&mut self, nanos: i64, mut payload: &[u8], mut piece: impl FnMut(Piece<'_>) -> LogLevel) {
        loop {
            match self.skip {
                Skip::Until if nanos < self.mark.high => return,
                Skip::Until if nanos == self.mark.high => self.skip = Skip::Frames(self.mark.behind),
                Skip::Until => {
                    self.mark = Mark::default();
                    self.skip = Skip::Bytes(0);
                    piece(Piece::Lost { nanos });
                }
                Skip::Frames(0) => self.skip = Skip::Bytes(self.mark.bytes),
                Skip::Frames(n) => {
                    self.skip = Skip::Frames(n - 1);
                    return;
                }
                Skip::Bytes(n) => {
                    payload = payload.get(n..).unwrap_or_default();
                    self.skip = Skip::Bytes(0);
                    break;
                }
            }
        }
        self.taken += payload.len() as u64;
        self.frames.push_back((nanos, payload.len()));
        let (frames, mark) = (&mut self.frames, &mut self.mark);
        self.splitter.push(payload, |line| store(frames, mark, line, &mut piece));
    }

    /// The container has ended, and its output with it.
    pub fn finish(&mut self, mut piece: impl FnMut(Piece<'_>) -> LogLevel) {
        let (frames, mark) = (&mut self.frames, &mut self.mark);
        self.splitter.finish(|line| store(frames, mark, line, &mut piece));
    }

    /// No frame of this stream that is not stored has an earlier time, where `newest` is the time of the last frame
    /// of both streams.
    fn oldest_unstored(&self, newest: i64) -> i64 {
        self.frames.iter().map(|(nanos, _)| *nanos).min().unwrap_or(newest).min(newest)
    }
}

/// The position of two cursors of the same log, which began at `from`.
pub fn position(from: &Position, stdout: &Cursor, stderr: &Cursor, newest: i64) -> Position {
    let oldest = stdout.oldest_unstored(newest).min(stderr.oldest_unstored(newest));
    Position {
        since: (oldest / NANOS - CLOCK_MARGIN_SECONDS).max(0),
        stdout: stdout.mark(),
        stderr: stderr.mark(),
        done: from.done + stdout.taken - stdout.pending() + stderr.taken - stderr.pending(),
        count: from.count,
    }
}

fn store(
    frames: &mut VecDeque<(i64, usize)>,
    mark: &mut Mark,
    line: SplitLine<'_>,
    piece: &mut impl FnMut(Piece<'_>) -> LogLevel,
) {
    let nanos = frames.front().map_or(mark.high, |(nanos, _)| *nanos);
    let mut raw = line.raw;
    while let Some((nanos, left)) = frames.front_mut() {
        if *left > raw {
            *left -= raw;
            mark.bytes += raw;
            break;
        }
        raw -= *left;
        if mark.behind == 0 || *nanos > mark.high {
            mark.high = *nanos;
            mark.behind = 1;
        } else {
            mark.behind += 1;
        }
        mark.bytes = 0;
        frames.pop_front();
    }
    let level = piece(Piece::Line { text: line.text, open: mark.open, continued: line.continued, nanos });
    mark.open = line.continued.then_some(level);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::MAX_LINE;
    use proptest::prelude::*;

    type Frames = Vec<(bool, i64, Vec<u8>)>;
    /// Whether of standard error, and the text.
    type Stored = Vec<(bool, String)>;

    /// Reads a log from a position and stops before frame `until`, as if killed there: what was stored, and the
    /// position that was stored with it.
    fn lines(log: &Frames, from: Position, until: usize, ended: bool) -> (Stored, Position) {
        let mut cursors = [Cursor::new(from.stdout, from.since), Cursor::new(from.stderr, from.since)];
        let (mut stored, mut newest) = (Vec::new(), 0);
        let mut keep = |stderr: bool, piece: Piece<'_>| match piece {
            Piece::Line { text, .. } => {
                stored.push((stderr, text.to_owned()));
                LogLevel::Info
            }
            Piece::Lost { .. } => {
                stored.push((stderr, "LOST".into()));
                LogLevel::Warn
            }
        };
        for (stderr, nanos, payload) in log.iter().take(until).filter(|frame| frame.1 >= from.since * NANOS) {
            newest = *nanos;
            cursors[usize::from(*stderr)].push(*nanos, payload, |piece| keep(*stderr, piece));
        }
        if ended {
            cursors[0].finish(|piece| keep(false, piece));
            cursors[1].finish(|piece| keep(true, piece));
        }
        let at = if stored.is_empty() { from } else { position(&from, &cursors[0], &cursors[1], newest) };
        (stored, at)
    }

    /// A log with long lines in pieces of one time, equal times, and a clock that is set back now and then, within
    /// the margin.
    fn log() -> impl Strategy<Value = Frames> {
        let step = prop_oneof![4 => 0..3i64, 1 => -28..0i64];
        let byte = prop::sample::select(b"x\n\r\0\xff\xe2".to_vec());
        prop::collection::vec((any::<bool>(), step, 1..4usize, byte), 1..40).prop_map(|frames| {
            let mut now = 1_700_000_000 * NANOS;
            let mut log = Frames::new();
            for (number, (stderr, step, pieces, byte)) in frames.into_iter().enumerate() {
                now += step * NANOS / 2;
                for piece in 0..pieces {
                    let mut payload = format!("{number}.{piece} ").into_bytes();
                    payload.push(byte);
                    if piece + 1 == pieces {
                        payload.push(b'\n');
                    }
                    log.push((stderr, now, payload));
                }
            }
            log
        })
    }

    proptest! {
        #[test]
        fn killed_anywhere_it_goes_on_without_gap_or_repeat(
            log in log(),
            kills in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let (whole, _) = lines(&log, Position::default(), log.len(), true);
            let mut kills: Vec<usize> = kills.iter().map(|kill| kill.index(log.len() + 1)).collect();
            kills.sort_unstable();
            let (mut all, mut at) = (Vec::new(), Position::default());
            for kill in kills {
                let (stored, position) = lines(&log, at, kill, false);
                all.extend(stored);
                // As it is kept in PostgreSQL.
                at = serde_json::from_value(serde_json::to_value(position).unwrap()).unwrap();
            }
            all.extend(lines(&log, at, log.len(), true).0);
            // Each stream is in its order; what was pending in one may come after the other's.
            for stderr in [false, true] {
                let of = |stored: &Stored| stored.iter().filter(|l| l.0 == stderr).cloned().collect::<Stored>();
                prop_assert_eq!(of(&all), of(&whole));
            }
        }
    }

    #[test]
    fn a_line_of_megabytes_is_resumed_inside() {
        let mut log: Frames = (0..300).map(|_| (true, NANOS, vec![b'x'; 16 * 1024])).collect();
        log.push((true, NANOS, b"\n".to_vec()));
        log.push((true, 2 * NANOS, b"next\n".to_vec()));
        let (first, at) = lines(&log, Position::default(), 150, false);
        assert_eq!(first.len(), 2);
        assert_eq!((at.stderr.behind, at.stderr.open), (128, Some(LogLevel::Info)));
        let (rest, at) = lines(&log, at, log.len(), true);
        let text: usize = first.iter().chain(&rest).map(|line| line.1.len()).sum();
        assert_eq!(text, 300 * 16 * 1024 + 4);
        assert!(first.iter().chain(&rest).all(|line| line.1.len() <= MAX_LINE));
        assert_eq!(rest.last().unwrap().1, "next");
        assert_eq!(at.stderr.open, None);
        assert_eq!(lines(&log, at, log.len(), true).0, []);
    }

    #[test]
    fn rotation_that_outran_the_collector_is_told() {
        let at = Position {
            since: 0,
            stdout: Mark::default(),
            stderr: Mark { high: 5, behind: 1, bytes: 0, open: None },
            ..Default::default()
        };
        let log: Frames = vec![(true, 9, b"later\n".to_vec())];
        let (stored, at) = lines(&log, at, 1, true);
        assert_eq!(stored, [(true, "LOST".to_owned()), (true, "later".to_owned())]);
        assert_eq!(at.stderr.high, 9);
    }

    #[test]
    fn a_quiet_stream_does_not_hold_since_back() {
        let hour = 3600 * NANOS;
        let log: Frames = vec![
            (false, hour, b"starting\n".to_vec()),
            (true, 3 * hour, b"later\n".to_vec()),
            (false, 4 * hour, b"no end yet".to_vec()),
            (true, 9 * hour, b"much later\n".to_vec()),
            (false, 9 * hour, b" now\n".to_vec()),
        ];
        let (_, at) = lines(&log, Position::default(), 2, false);
        assert_eq!(at.since, 3 * 3600 - 600);
        let (_, at) = lines(&log, Position::default(), 4, false);
        assert_eq!(at.since, 4 * 3600 - 600, "the unfinished line must come again");
        assert_eq!(lines(&log, at, log.len(), true).0, [(false, "no end yet now".to_owned())]);
    }
}
