//! How much a container has printed since it was started, whether anybody read it or not.
//!
//! Docker keeps no count. But every byte of a container's output is copied by its shim, a process that lives as long
//! as the container, and the kernel counts what a process writes. The count is of a little more than output (answers
//! to the daemon, output of `docker exec`), so only differences over a quiet time are exact. Where the count cannot be
//! read (a worker that is not root, a daemon in another process namespace) there is none.

use super::Docker;
use std::fs;

/// The process that carries a container's output, from one start of the container to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shim {
    pub pid: u32,
    /// When it was started, in the kernel's ticks: process ids are used again.
    pub born: u64,
}

impl Docker {
    /// The running container's shim, when it can be seen from here.
    pub async fn shim(&self, container: &str) -> Option<Shim> {
        let found = self.client().inspect_container(container, None).await.ok()?;
        let init = u32::try_from(found.state?.pid?).ok().filter(|pid| *pid > 1)?;
        let pid = Process::read(init)?.parent;
        let shim = Process::read(pid)?;
        shim.name.starts_with("containerd-shim").then_some(Shim { pid, born: shim.born })
    }
}

impl Shim {
    /// Bytes that it has written.
    pub fn written(self) -> Option<i64> {
        let counts = fs::read_to_string(format!("/proc/{}/io", self.pid)).ok()?;
        let written = counts.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()?;
        (Process::read(self.pid)?.born == self.born).then_some(written)
    }
}

struct Process {
    name: String,
    parent: u32,
    born: u64,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `pid (name) state parent ...`: the name may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (name, rest) = stat.split_once(" (")?.1.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let parent = fields.nth(1)?.parse().ok()?;
        // The 22nd of all.
        let born = fields.nth(17)?.parse().ok()?;
        Some(Self { name: name.to_owned(), parent, born })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let text = "12 (a) b (c) S 7 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 4242 100 200";
        let process = Process::parse(text).unwrap();
        assert_eq!((process.name.as_str(), process.parent, process.born), ("a) b (c", 7, 4242));
        assert!(Process::parse("12 (a").is_none());
        let me = Process::read(std::process::id()).unwrap();
        assert_eq!(me.parent, std::os::unix::process::parent_id());
    }
}
