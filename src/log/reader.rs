//! From the daemon's frames to batches that can be stored.

use super::{
    chunk::Batch,
    collector::{CollectError, Stop},
    frame::{Clock, Frame},
    position::{Count, Cursor, Piece, Position, position},
};
use crate::{
    docker::{Docker, Output, OutputFrame, Shim},
    run::LogLevel,
};
use futures::{FutureExt, Stream, StreamExt};
use std::{
    future::pending,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep_until},
};

/// How long a line may wait for others to share its transaction.
const LINGER: Duration = Duration::from_millis(50);
/// How often the container's output is counted, at most, while it prints and while it is quiet.
const COUNT_EVERY: Duration = Duration::from_secs(5);
const COUNT_QUIET_EVERY: Duration = Duration::from_secs(60);
/// While it is quiet the count is stored when it has moved by this: answers of the shim to the daemon.
const COUNT_MOVED: u64 = 4 * 1024;
/// After so long without a place for a batch the log is opened again. The daemon goes on with the newest file when
/// it comes to a file's end, whatever was rotated meanwhile; only a log that is opened anew shows the gap.
const STALL: Duration = Duration::from_secs(5);
/// A reader that took this much without ever seeing the end of the log may have been overtaken by its rotation.
const BEHIND: usize = 16 * 1024 * 1024;
/// And was, when this much is missing: answers to the daemon are counted too, but are small.
const MISSING: u64 = 4 * 1024 * 1024;
/// What is older was not printed just now.
const LATELY: Duration = Duration::from_millis(200);

/// What is read: a container's log from a position on.
pub struct Read<'a> {
    pub docker: &'a Docker,
    pub container: &'a str,
    pub from: Position,
    /// The container had ended before: the end of the log is the end of its output.
    pub ended: bool,
}

/// Reads to the end of the log and gives batches, each with the position behind it, as fast as they are taken.
pub async fn read(
    read: Read<'_>,
    level_of: &impl Fn(&str) -> LogLevel,
    full: Sender<(Batch, Position)>,
) -> Result<(), Stop> {
    let mut reader = Reader {
        stdout: Cursor::new(read.from.stdout, read.from.since),
        stderr: Cursor::new(read.from.stderr, read.from.since),
        from: read.from,
        batch: Batch::default(),
        newest: 0,
        lost: None,
        shim: read.docker.shim(read.container).await,
        opened: Instant::now(),
        fresh: None,
        counted: None,
        behind: 0,
        is_at_end: false,
        is_fresh: false,
        level_of,
    };
    let mut frames = frames(&read, !read.ended).await?;
    // When the batch has to go.
    let mut deadline = None;
    let mut end = None;
    loop {
        // What is here already needs no waiting, and none of its cost.
        while end.is_none()
            && !reader.batch.is_full()
            && let Some(next) = frames.next().now_or_never()
        {
            end = reader.take(next, &read).await;
        }
        reader.look_at_clock();
        if deadline.is_none() && !reader.batch.is_empty() {
            deadline = Some(Instant::now() + LINGER);
        }
        if end.is_some() && reader.batch.is_empty() {
            break;
        }
        let must_go = end.is_some() || reader.batch.is_full();
        let since = Instant::now();
        // While a batch waits the log is not quiet.
        let quiet = reader.fresh.filter(|_| deadline.is_none() && !read.ended).map(|at| at + STALL);
        let due = async {
            match deadline {
                Some(_) if must_go => {}
                Some(deadline) => sleep_until(deadline).await,
                None => reader.next_count().await,
            }
            full.reserve().await
        };
        tokio::select! {
            // A batch that waits for its turn goes on growing until it is full.
            next = frames.next(), if !must_go => end = reader.take(next, &read).await,
            permit = due => {
                let Ok(permit) = permit else { return Ok(()) };
                if deadline.is_some() {
                    permit.send(reader.give());
                } else if let Some(position) = reader.count_quiet() {
                    permit.send((Batch::default(), position));
                }
                deadline = None;
                if must_go && since.elapsed() > STALL && end.is_none() {
                    return Ok(());
                }
            }
            () = sleep_until(quiet.unwrap_or(since)), if quiet.is_some() => {
                reader.fresh = None;
                // The daemon's follower may miss a rotation; then it is silent until more is printed.
                if newest(&read).await? > reader.newest {
                    return Ok(());
                }
            }
            () = full.closed() => return Ok(()),
        }
    }
    end.unwrap_or(Ok(()))
}

struct Reader<'a, L> {
    from: Position,
    stdout: Cursor,
    stderr: Cursor,
    batch: Batch,
    /// Time of the last frame.
    newest: i64,
    /// Bytes that were lost before the first frame, once there is a gap; the number is none when nobody can know.
    lost: Option<Option<u64>>,
    shim: Option<Shim>,
    opened: Instant,
    /// When the last frame came, until it was asked whether that is the newest line.
    fresh: Option<Instant>,
    counted: Option<Instant>,
    /// Whether all that had been printed was read, as far as times tell.
    is_at_end: bool,
    /// Frames came since that was asked.
    is_fresh: bool,
    /// Bytes since the end of the log was seen last.
    behind: usize,
    level_of: &'a L,
}

impl<L: Fn(&str) -> LogLevel> Reader<'_, L> {
    /// Takes what the daemon sent; tells why it was the last.
    async fn take(&mut self, next: Option<Result<Frame, Stop>>, read: &Read<'_>) -> Option<Result<(), Stop>> {
        match next {
            Some(Ok(frame)) => {
                let cursor = if frame.stderr { &mut self.stderr } else { &mut self.stdout };
                if self.lost.is_none() && cursor.is_behind_gap(frame.nanos) {
                    match lost(read, self.shim).await {
                        Ok(lost) => {
                            self.lost = Some(lost);
                            self.from.done += lost.unwrap_or_default();
                            note_loss(&mut self.batch, lost, frame.nanos);
                        }
                        Err(stop) => return Some(Err(stop)),
                    }
                }
                let (batch, level_of) = (&mut self.batch, self.level_of);
                cursor.push(frame.nanos, &frame.payload, |piece| add(batch, piece, level_of));
                self.newest = frame.nanos;
                self.is_fresh = true;
                None
            }
            Some(Err(stop)) => Some(Err(stop)),
            None => {
                if read.ended {
                    let (batch, level_of) = (&mut self.batch, self.level_of);
                    self.stdout.finish(|piece| add(batch, piece, level_of));
                    self.stderr.finish(|piece| add(batch, piece, level_of));
                }
                Some(Ok(()))
            }
        }
    }

    fn give(&mut self) -> (Batch, Position) {
        let full = self.batch.is_full();
        self.behind += if full { self.batch.len() } else { 0 };
        let due = self.counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) || self.behind >= BEHIND;
        if !full
            && due
            && self.is_at_end
            && let Some((count, moved)) = self.count()
        {
            let missing = u64::try_from(moved).unwrap_or_default();
            self.from.count = Some(count);
            if self.behind >= BEHIND && missing >= MISSING {
                note_loss(&mut self.batch, Some(missing), self.newest);
                self.from.done += missing;
                self.from.count = Some(Count { ahead: count.ahead - moved, ..count });
            }
            self.behind = 0;
        }
        let next = position(&self.from, &self.stdout, &self.stderr, self.newest);
        (std::mem::take(&mut self.batch), next)
    }

    /// The count now, when all that was printed was read, and by how much it moved against the last one.
    fn count(&mut self) -> Option<(Count, i64)> {
        let shim = self.shim?;
        let read = self.from.done + self.stdout.taken() + self.stderr.taken();
        let ahead = shim.written()?.saturating_sub_unsigned(read);
        self.counted = Some(Instant::now());
        let moved = self.from.count.filter(|count| (count.pid, count.born) == (shim.pid, shim.born));
        Some((Count { pid: shim.pid, born: shim.born, ahead }, moved.map_or(0, |count| ahead - count.ahead)))
    }

    async fn next_count(&self) {
        match self.shim {
            Some(_) => sleep_until(self.counted.unwrap_or(self.opened) + COUNT_QUIET_EVERY).await,
            None => pending().await,
        }
    }

    /// What was printed a moment ago is the end of the log. That no frame is there says less: the daemon may be
    /// slower than we are.
    fn look_at_clock(&mut self) {
        if !std::mem::take(&mut self.is_fresh) {
            return;
        }
        self.fresh = Some(Instant::now());
        // The daemon's clock is this machine's.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let age = now.as_nanos().saturating_sub(u128::try_from(self.newest).unwrap_or_default());
        self.is_at_end = age < LATELY.as_nanos();
    }

    /// The position with the count as it is now, when it is worth being stored without a line.
    fn count_quiet(&mut self) -> Option<Position> {
        let (count, moved) = self.count()?;
        let is_other = self.from.count.is_none_or(|old| (old.pid, old.born) != (count.pid, count.born));
        if !is_other && moved.unsigned_abs() < COUNT_MOVED {
            return None;
        }
        self.from.count = Some(count);
        // Nothing came yet that could move the position.
        if self.newest == 0 {
            return Some(self.from);
        }
        Some(position(&self.from, &self.stdout, &self.stderr, self.newest))
    }
}

fn add(batch: &mut Batch, piece: Piece<'_>, level_of: &impl Fn(&str) -> LogLevel) -> LogLevel {
    match piece {
        Piece::Line { text, open, continued, nanos } => {
            let level = open.unwrap_or_else(|| level_of(text));
            batch.add(level, text, continued, nanos);
            level
        }
        // Noted for both streams together.
        Piece::Lost { .. } => LogLevel::Warn,
    }
}

fn note_loss(batch: &mut Batch, lost: Option<u64>, nanos: i64) {
    // The shim's own few words are counted with what it passes on.
    let bytes = lost.map_or_else(|| "An unknown number of".to_owned(), |bytes| format!("About {bytes}"));
    let text = format!("{bytes} bytes lost: the container's log was rotated while it was not being read.");
    batch.add(LogLevel::Warn, &text, false, nanos);
}

/// How much was printed since the position was stored and is not in the log any more.
async fn lost(read: &Read<'_>, shim: Option<Shim>) -> Result<Option<u64>, Stop> {
    let (Some(shim), Some(count)) = (shim, read.from.count) else { return Ok(None) };
    // The container was started again meanwhile, and the count with it.
    if (shim.pid, shim.born) != (count.pid, count.born) {
        return Ok(None);
    }
    let Some(written) = shim.written() else { return Ok(None) };
    let mut stdout = Cursor::new(read.from.stdout, read.from.since);
    let mut stderr = Cursor::new(read.from.stderr, read.from.since);
    let mut frames = frames(read, false).await?;
    while let Some(frame) = frames.next().await {
        let frame = frame?;
        let cursor = if frame.stderr { &mut stderr } else { &mut stdout };
        cursor.push(frame.nanos, &frame.payload, |_| LogLevel::Info);
    }
    let there = read.from.done + stdout.taken() + stderr.taken();
    let lost = (written - count.ahead).saturating_sub_unsigned(there);
    Ok(u64::try_from(lost).ok().filter(|lost| *lost > 0))
}

/// The time of the newest line in the log.
async fn newest(read: &Read<'_>) -> Result<i64, Stop> {
    let mut frames = timed(read.docker.newest_output(read.container).await.map_err(Stop::Read)?);
    let mut newest = 0;
    while let Some(frame) = frames.next().await {
        newest = frame?.nanos;
    }
    Ok(newest)
}

async fn frames(
    read: &Read<'_>,
    follow: bool,
) -> Result<impl Stream<Item = Result<Frame, Stop>> + Unpin, Stop> {
    read.docker.output(read.container, read.from.since, follow).await.map(timed).map_err(Stop::Read)
}

fn timed(output: Output) -> impl Stream<Item = Result<Frame, Stop>> + Unpin {
    let mut clock = Clock::default();
    output.map(move |next| {
        let OutputFrame { stderr, payload } = next.map_err(Stop::Read)?;
        clock.frame(stderr, payload).ok_or(Stop::Failed(CollectError::Frame))
    })
}
