//! What the contract says happens to a run, in Rust: the tests ask the database for the same.

use uuid::Uuid;

/// A refusal, by SQLSTATE and the beginning of its message.
pub type Outcome = Result<Said, (&'static str, &'static str)>;

/// What an accepted call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Changed,
    /// Accepted, and nothing is to be different afterwards.
    Nothing,
}

pub const LOST: (&str, &str) = ("55000", "lease lost");
pub const REQUIRED: (&str, &str) = ("55000", "lease required");
pub const WRONG_STATE: (&str, &str) = ("55000", "wrong state");
pub const WRONG_WORKER: (&str, &str) = ("55006", "the run is held by another worker");

/// How often a run is tried.
pub const ATTEMPTS: i32 = 3;

#[derive(Debug, Clone)]
pub struct Run {
    pub id: Uuid,
    pub key: Option<u8>,
    pub priority: i32,
    pub status: &'static str,
    pub attempt: i32,
    pub handed_back: i32,
    pub lease: Option<i64>,
    pub worker: Option<u8>,
    pub canceled: bool,
    pub superseded_by: Option<usize>,
    /// Nobody renewed its lease for too long.
    pub expired: bool,
    /// All that were ever given for it.
    pub leases: Vec<i64>,
    pub lines: i64,
    pub events: i64,
    pub artifacts: Vec<u8>,
}

impl Run {
    pub fn new(id: Uuid, key: Option<u8>, priority: i32) -> Self {
        Self {
            id,
            key,
            priority,
            status: "queued",
            attempt: 0,
            handed_back: 0,
            lease: None,
            worker: None,
            canceled: false,
            superseded_by: None,
            expired: false,
            leases: Vec::new(),
            lines: 0,
            events: 0,
            artifacts: Vec::new(),
        }
    }

    pub fn is_held(&self) -> bool {
        matches!(self.status, "claimed" | "running")
    }

    pub fn has_ended(&self) -> bool {
        !self.is_held() && self.status != "queued"
    }

    fn tries(&self) -> i32 {
        self.attempt - self.handed_back
    }

    /// Who may write: the holder of the lease. Without one, whoever simple has the run's first claim.
    pub fn fence(&self, lease: Option<i64>) -> Outcome {
        match lease {
            Some(_) if self.lease != lease => Err(LOST),
            None if self.attempt > 1 => Err(REQUIRED),
            None if self.attempt == 1 && self.lease.is_none() => Err(LOST),
            None if self.attempt == 0 => Err(WRONG_STATE),
            _ => Ok(Said::Changed),
        }
    }

    pub fn start(&mut self, worker: u8, lease: Option<i64>) -> Outcome {
        self.fence(lease)?;
        if !self.is_held() {
            return Err(WRONG_STATE);
        }
        if self.worker != Some(worker) {
            return Err(WRONG_WORKER);
        }
        if self.status == "running" {
            return Ok(Said::Nothing);
        }
        (self.status, self.events) = ("running", self.events + 1);
        Ok(Said::Changed)
    }

    pub fn finish(&mut self, lease: Option<i64>, status: &'static str) -> Outcome {
        self.fence(lease)?;
        if self.has_ended() {
            let same = self.status == status || (status == "canceled" && self.status == "superseded");
            return if same { Ok(Said::Nothing) } else { Err(WRONG_STATE) };
        }
        // Nothing succeeds that did not begin.
        if !self.is_held() || (self.status == "claimed" && matches!(status, "succeeded" | "warning")) {
            return Err(WRONG_STATE);
        }
        self.end(if status == "canceled" && self.superseded_by.is_some() { "superseded" } else { status });
        Ok(Said::Changed)
    }

    /// The form without a lease, which knows only of what runs.
    pub fn complete(&mut self, exit_code: i32) -> Outcome {
        self.fence(None)?;
        if matches!(self.status, "queued" | "claimed") {
            return Err(WRONG_STATE);
        }
        self.finish(None, if exit_code == 0 { "succeeded" } else { "failed" })
    }

    /// The lease stays, so that the same word said again is understood.
    fn end(&mut self, status: &'static str) {
        self.status = status;
        self.events += 1;
    }

    fn drop_lease(&mut self) {
        (self.lease, self.worker, self.expired) = (None, None, false);
    }
}

/// The queue, in the order in which runs came.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub runs: Vec<Run>,
}

impl Model {
    /// Which run the next claim gets.
    pub fn next(&self) -> Option<usize> {
        let before = |index: usize| (-self.runs[index].priority, index);
        let queued: Vec<usize> =
            (0..self.runs.len()).filter(|&at| self.runs[at].status == "queued").collect();
        let is_free = |at: usize| {
            let Some(key) = self.runs[at].key else { return true };
            let held = self.runs.iter().any(|other| other.key == Some(key) && other.is_held());
            let first =
                queued.iter().filter(|&&other| self.runs[other].key == Some(key)).min_by_key(|&&o| before(o));
            !held && first == Some(&at)
        };
        queued.iter().copied().filter(|&at| is_free(at)).min_by_key(|&at| before(at))
    }

    pub fn claim(&mut self, at: usize, worker: u8, lease: i64) {
        let run = &mut self.runs[at];
        (run.status, run.worker, run.lease, run.expired) = ("claimed", Some(worker), Some(lease), false);
        run.attempt += 1;
        run.events += 1;
        run.leases.push(lease);
    }

    /// The newest that waits behind the run and does the same.
    fn replacement(&self, at: usize) -> Option<usize> {
        let key = self.runs[at].key?;
        let waits =
            |other: &usize| self.runs[*other].key == Some(key) && self.runs[*other].status == "queued";
        (at + 1..self.runs.len()).rfind(waits)
    }

    fn queue_again(&mut self, at: usize, handed_back: bool) {
        let replacement = self.replacement(at);
        let run = &mut self.runs[at];
        run.status = if replacement.is_some() { "superseded" } else { "queued" };
        run.superseded_by = run.superseded_by.or(replacement);
        run.handed_back += i32::from(handed_back);
        run.events += 1;
        run.drop_lease();
    }

    /// Retried (at most so often) or handed back (as often as workers are told to stop).
    pub fn give_back(&mut self, at: usize, lease: Option<i64>, handed_back: bool) -> Outcome {
        let run = &mut self.runs[at];
        run.fence(lease)?;
        if !run.is_held() {
            return Err(WRONG_STATE);
        }
        if run.canceled {
            return run.finish(lease, "canceled");
        }
        if !handed_back && run.tries() >= ATTEMPTS {
            return run.finish(lease, "failed");
        }
        self.queue_again(at, handed_back);
        Ok(Said::Changed)
    }

    pub fn requeue_lost(&mut self) -> Outcome {
        let mut said = Said::Nothing;
        for at in 0..self.runs.len() {
            let run = &mut self.runs[at];
            if !run.is_held() || !run.expired {
                continue;
            }
            said = Said::Changed;
            let ending = if run.superseded_by.is_some() {
                Some("superseded")
            } else if run.canceled {
                Some("canceled")
            } else {
                (run.tries() >= ATTEMPTS).then_some("failed")
            };
            match ending {
                Some(status) => {
                    run.end(status);
                    run.drop_lease();
                }
                None => self.queue_again(at, false),
            }
        }
        Ok(said)
    }

    pub fn cancel(&mut self, at: usize, by: Option<usize>) -> Outcome {
        let run = &mut self.runs[at];
        if run.has_ended() {
            return Err(WRONG_STATE);
        }
        run.canceled = true;
        if run.status == "queued" {
            run.superseded_by = by;
            run.end(if by.is_some() { "superseded" } else { "canceled" });
        } else {
            run.superseded_by = run.superseded_by.or(by);
            run.events += 1;
        }
        Ok(Said::Changed)
    }
}
