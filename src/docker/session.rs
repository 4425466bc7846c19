//! The processes of a program that was started inside a container: Docker starts it and cannot end it. It leads a
//! session (in the sense of setsid), and what it starts stays in there unless it wants out. From the machine that the
//! daemon runs on they are seen in `/proc`; we may signal them, because they are of our own uid when we are not root.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{fs, time::Duration};
use tokio::time::{Instant, sleep};

/// From being told to end to being killed.
const GRACE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Session {
    leader: u32,
    container: String,
}

impl Session {
    /// That of a process, if it leads one and is in this container: in another namespace of processes the number
    /// would be somebody else's.
    pub fn of(leader: u32, container: &str) -> Option<Self> {
        let session = Self { leader, container: container.to_owned() };
        session.has(leader).then_some(session)
    }

    /// Whether its leader was started with this in its environment.
    pub fn carries(&self, variable: &str) -> bool {
        let environment = fs::read(format!("/proc/{}/environ", self.leader)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
    }

    /// Tells all of it to hang up, then kills what is left.
    pub async fn end(self) {
        let (told, until) = (Instant::now(), Instant::now() + PATIENCE);
        self.signal(Signal::HUP);
        // What was stopped hears it only when it goes on.
        self.signal(Signal::CONT);
        while self.is_there() {
            if Instant::now() > until {
                return tracing::error!(leader = self.leader, "the processes of a shell do not end");
            }
            if told.elapsed() > GRACE {
                // Again until none is left: they may start others meanwhile.
                self.signal(Signal::KILL);
            }
            sleep(LOOK).await;
        }
    }

    fn is_there(&self) -> bool {
        self.members().next().is_some()
    }

    fn signal(&self, signal: Signal) {
        for pid in self.members() {
            let Some(handle) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
            let Ok(handle) = pidfd_open(handle, PidfdFlags::empty()) else { continue };
            // Asked once more, of the process that we hold now: the number may be another's by now.
            if self.has(pid)
                && let Err(error) = pidfd_send_signal(&handle, signal)
                && error != rustix::io::Errno::SRCH
            {
                tracing::warn!(pid, %error, "a process of a shell cannot be ended");
            }
        }
    }

    fn members(&self) -> impl Iterator<Item = u32> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| self.has(*pid))
    }

    fn has(&self, pid: u32) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        if !parse(&stat).is_some_and(|(state, session)| session == self.leader && !"ZX".contains(state)) {
            return false;
        }
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.contains(&self.container)
    }
}

/// State and session: `pid (name) state parent group session ...`, where the name may hold anything.
fn parse(stat: &str) -> Option<(char, u32)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(2)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_whatever_the_process_is_called() {
        assert_eq!(parse("12 (a) b (c) S 7 12 9 0 -1 4194560 1"), Some(('S', 9)));
        assert_eq!(parse("12 (a"), None);
        // We are in no container of this name.
        assert!(Session::of(std::process::id(), &"0".repeat(64)).is_none());
    }
}
