//! What this machine has and what of it is free, as heartbeats tell it.

use crate::queue::Figures;
use nix::sys::statvfs::statvfs;
use std::{io, path::Path};

/// `folder` is on the disk that counts.
pub fn read(folder: &Path) -> io::Result<Figures> {
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let missing = |name| io::Error::other(format!("/proc/meminfo has no {name}"));
    let kib = |name: &'static str| meminfo(&memory, name).ok_or_else(|| missing(name));
    let disk = statvfs(folder)?;
    let block = disk.fragment_size();
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(block)).unwrap_or(i64::MAX);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Figures {
        cpus: i32::try_from(cpus).unwrap_or(i32::MAX),
        memory_total_bytes: kib("MemTotal")?,
        // What programs can get without swapping, caches included.
        memory_free_bytes: kib("MemAvailable")?,
        disk_total_bytes: bytes(disk.blocks()),
        disk_free_bytes: bytes(disk.blocks_available()),
    })
}

/// A line such as `MemTotal:       16384 kB`, in bytes.
fn meminfo(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{meminfo, read};

    #[test]
    fn figures_of_this_machine_are_sound() {
        let figures = read(std::path::Path::new("/")).unwrap();
        assert!(figures.cpus >= 1);
        assert!(0 < figures.memory_free_bytes && figures.memory_free_bytes <= figures.memory_total_bytes);
        assert!(0 < figures.disk_free_bytes && figures.disk_free_bytes <= figures.disk_total_bytes);
        assert!(read(std::path::Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn meminfo_is_read_by_whole_names() {
        let text = "MemTotal:       16384 kB\nMemTotalX: 1 kB\nMemFree:  12 MB\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(16384 * 1024));
        assert_eq!(meminfo(text, "Mem"), None);
        assert_eq!(meminfo(text, "MemFree"), None);
        assert_eq!(meminfo(text, "MemAvailable"), None);
    }
}
