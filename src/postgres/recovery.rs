//! What an unclean end leaves behind. A postmaster killed with -9 leaves its pid file, and backends that hold its
//! shared memory: a new one refuses to start beside them. The caller holds the data directory's lock, so whatever
//! still runs here is a leftover.

use super::PostgresError;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};

const POLL: Duration = Duration::from_millis(20);

/// Ends every leftover process of the cluster, gently first, and removes its pid and lock files.
pub async fn clear(data: &Path, socket: &Path) -> Result<(), PostgresError> {
    let Ok(data) = data.canonicalize() else { return Ok(()) };
    if let Some(postmaster) = pid_in_file(&data).filter(|pid| processes(&data).contains(pid)) {
        tracing::warn!(%postmaster, data = %data.display(), "PostgreSQL of an earlier start still runs, stopping it");
        signal(&[postmaster], Signal::SIGINT);
        gone(&data, Duration::from_secs(20)).await;
    }
    for (name, patience) in [(Signal::SIGQUIT, 5), (Signal::SIGKILL, 10)] {
        let left = processes(&data);
        if left.is_empty() {
            break;
        }
        tracing::warn!(count = left.len(), signal = %name, "ending orphaned PostgreSQL processes");
        signal(&left, name);
        gone(&data, Duration::from_secs(patience)).await;
    }
    let left = processes(&data);
    if !left.is_empty() {
        return Err(PostgresError::Occupied { data, pids: left.into_iter().map(Pid::as_raw).collect() });
    }
    // PostgreSQL checks only whether the pid in these files runs, and after a restart that may be anyone.
    let files =
        [data.join("postmaster.pid"), socket.join(".s.PGSQL.5432.lock"), socket.join(".s.PGSQL.5432")];
    for file in files {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(PostgresError::io(file)(error)),
            _ => {}
        }
    }
    Ok(())
}

fn signal(pids: &[Pid], signal: Signal) {
    for &pid in pids {
        match kill(pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(%pid, %error, "cannot signal a PostgreSQL process"),
        }
    }
}

async fn gone(data: &Path, patience: Duration) {
    let end = Instant::now() + patience;
    while !processes(data).is_empty() && Instant::now() < end {
        sleep(POLL).await;
    }
}

/// The pid in the first line of postmaster.pid.
pub fn pid_in_file(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok().map(Pid::from_raw)
}

/// Every PostgreSQL process of this data directory: all of them work inside it.
pub fn processes(data: &Path) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let belongs = |process: &PathBuf| {
        let is_postgres = fs::read_link(process.join("exe")).is_ok_and(|exe| {
            exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("postgres"))
        });
        is_postgres && fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == data)
    };
    entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter(|(_, path)| belongs(path))
        .map(|(pid, _)| Pid::from_raw(pid))
        .collect()
}
