//! What the platform's pages and the command line say of it.

use crate::say;
use chrono::{DateTime, Utc};
use odooops::{host::HostState, reconcile::Standing, run::backlog::Wait, status::Problem};

pub fn host_state(state: HostState) -> &'static str {
    match state {
        HostState::Alive => say!(admin.host_state.alive),
        HostState::Silent => say!(admin.host_state.silent),
        HostState::Draining => say!(admin.host_state.draining),
        HostState::Revoked => say!(admin.host_state.revoked),
    }
}

/// Why a run waits. The run that it waits for is named beside it.
pub fn wait(wait: &Wait) -> String {
    match wait {
        Wait::Time { at } => say!(admin.wait.time, at = moment(*at)).to_string(),
        Wait::Run { .. } => say!(admin.wait.run).to_owned(),
        Wait::Kind { max } => say!(admin.wait.kind, max = max.to_string()).to_string(),
        Wait::Worker => say!(admin.wait.worker).to_owned(),
        Wait::Host { name, state } => {
            let state = host_state(*state).to_ascii_lowercase();
            say!(admin.wait.host, name = name.clone(), state = state).to_string()
        }
        Wait::Labels { labels } => say!(admin.wait.labels, labels = labels.join(", ")).to_string(),
        Wait::Draining => say!(admin.wait.draining).to_owned(),
        Wait::Memory => say!(admin.wait.memory).to_owned(),
        Wait::Disk => say!(admin.wait.disk).to_owned(),
        Wait::Slot => say!(admin.wait.slot).to_owned(),
        Wait::Turn => say!(admin.wait.turn).to_owned(),
    }
}

pub fn problem(problem: &Problem) -> String {
    match problem {
        Problem::MigrationsMissing { applied, known } => {
            say!(admin.problem.migrations, applied = applied.to_string(), known = known.to_string())
                .to_string()
        }
        Problem::ConnectionsScarce { used, max } => {
            say!(admin.problem.connections, used = used.to_string(), max = max.to_string()).to_string()
        }
        Problem::NoWorker => say!(admin.problem.no_worker).to_owned(),
        Problem::WorkerSilent { worker } => {
            say!(admin.problem.worker_silent, worker = worker.clone()).to_string()
        }
        Problem::RunsStuck { count } => say!(admin.problem.stuck, count = count.to_string()).to_string(),
        Problem::HostOnlyReports { host, standing: Standing::Foreign } => {
            say!(admin.problem.foreign, host = host.clone()).to_string()
        }
        Problem::HostOnlyReports { host, standing: Standing::Unknown } => {
            say!(admin.problem.unknown, host = host.clone()).to_string()
        }
        Problem::HostOnlyReports { host, .. } => say!(admin.problem.behind, host = host.clone()).to_string(),
        Problem::ReconcilerFails { host, reconciler, error } => {
            let (host, reconciler, error) = (host.clone(), reconciler.clone(), error.clone());
            say!(admin.problem.reconciler, host = host, reconciler = reconciler, error = error).to_string()
        }
        Problem::QueueStands { since } => say!(admin.problem.queue, since = moment(*since)).to_string(),
        Problem::RetentionFails { error } => say!(admin.problem.retention, error = error.clone()).to_string(),
        Problem::PartitionMissing { table } => {
            say!(admin.problem.partition, table = table.clone()).to_string()
        }
    }
}

/// What a button of a row is called, so that those who hear it alone know which row it is of.
pub fn named(what: &str, row: &str) -> String {
    say!(admin.named, what = what.to_owned(), row = row.to_owned()).to_string()
}

/// By the hand of the parts: the formatter of dates would weigh more than the page.
pub fn moment(at: DateTime<Utc>) -> String {
    use chrono::{Datelike, Timelike};
    let (date, time) = (at.date_naive(), at.time());
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02} UTC",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute()
    )
}

/// `1.4 GB`: in steps of a thousand, with a tenth below ten.
pub fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut tenths, mut unit) = (i128::from(bytes.max(0)) * 10, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths = (tenths + 500) / 1000;
        unit += 1;
    }
    match (unit, tenths) {
        (1.., ..100) => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        _ => format!("{} {}", (tenths + 5) / 10, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_like_people_say_them() {
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_449, "1.4 kB"),
            (9_990, "10 kB"),
            (499_000_000, "499 MB"),
            (8_312_000_000, "8.3 GB"),
            (24_000_000_000, "24 GB"),
            (3_000_000_000_000_000, "3000 TB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn moments_are_exact_to_the_minute() {
        assert_eq!(moment(DateTime::UNIX_EPOCH), "1970-01-01 00:00 UTC");
    }
}
