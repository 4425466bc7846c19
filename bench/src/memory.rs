//! What processes hold in memory, from /proc.

use anyhow::{Context, Result};
use std::{fs, path::Path};

/// In kB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All resident pages.
    pub rss: u64,
    /// Pages that several processes have counted in parts.
    pub pss: u64,
}

impl Memory {
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        Ok(Self::parse(&fs::read_to_string(&path).context(path)?))
    }

    fn parse(rollup: &str) -> Self {
        let mut memory = Self::default();
        for line in rollup.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(Ok(size))) = (words.next(), words.next().map(str::parse::<u64>)) else {
                continue;
            };
            match name {
                "Rss:" => memory.rss = size,
                "Pss:" => memory.pss = size,
                _ => {}
            }
        }
        memory
    }
}

/// The children of a process, each with its arguments.
pub fn children(parent: u32) -> Result<Vec<(u32, Vec<String>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while we look.
        if parent_of(&entry.path()) == Some(parent)
            && let Ok(arguments) = fs::read(entry.path().join("cmdline"))
        {
            let arguments = arguments.split(|byte| *byte == 0).map(|it| String::from_utf8_lossy(it).into());
            found.push((pid, arguments.collect()));
        }
    }
    Ok(found)
}

fn parent_of(process: &Path) -> Option<u32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollup_is_read() {
        let rollup = "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:    22048 kB\nPss:    12345 kB\nPss_Dirty: 9 kB\n\
                      Shared_Clean: 10000 kB\nPrivate_Clean: 48 kB\nPrivate_Dirty: 12000 kB\n";
        assert_eq!(Memory::parse(rollup), Memory { rss: 22048, pss: 12345 });
    }

    #[test]
    fn this_process_has_memory_and_a_parent() {
        let own = Memory::of(std::process::id()).unwrap();
        assert!(own.rss >= own.pss && own.pss > 0);
        let parent = parent_of(Path::new("/proc/self")).unwrap();
        assert!(children(parent).unwrap().iter().any(|(pid, _)| *pid == std::process::id()));
    }
}
