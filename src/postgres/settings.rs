//! The settings of an embedded cluster: `odooops.conf`, written at every start and included by postgresql.conf
//! before `local.conf` and ALTER SYSTEM, with which an administrator overrides it. What safety rests on is given on
//! the command line, which nothing overrides.

use super::cluster::Kind;
use std::path::Path;

const MIB_PER_GIB: u64 = 1024;

/// pg_hba.conf: one line, no exception for anyone. There is no TCP to write a `host` line for.
pub const HBA: &str = "# Written at every start. scram-sha-256 for every role: containers mount this socket, and `peer` or \
                       `trust` would trust their uid.\nlocal all all scram-sha-256\n";

/// What stands at the end of postgresql.conf.
pub const INCLUDES: &str = "\ninclude_if_exists = 'odooops.conf'\ninclude_if_exists = 'local.conf'\n";

/// The file for a machine with this much memory.
pub fn file(kind: Kind, memory_mib: u64, has_statements: bool) -> String {
    let (buffers, connections) = match kind {
        Kind::Control => ((memory_mib / 32).clamp(64, 512), 100),
        Kind::Tenants => ((memory_mib / 8).clamp(128, 8 * MIB_PER_GIB), 200),
        Kind::Throwaway => (128, 300),
    };
    let mut lines = vec![
        "# Written at every start. To change a setting, write it into local.conf or use ALTER SYSTEM."
            .to_owned(),
        format!("max_connections = {connections}"),
        "superuser_reserved_connections = 5".to_owned(),
        format!("shared_buffers = {buffers}MB"),
        format!("effective_cache_size = {}MB", (memory_mib / 2).max(256)),
        format!("work_mem = {}MB", (memory_mib / 1024).clamp(4, 32)),
        format!("maintenance_work_mem = {}MB", (memory_mib / 32).clamp(64, 512)),
        "max_wal_size = 2GB".to_owned(),
        "random_page_cost = 1.1".to_owned(),
        // Short queries by the thousand: compiling them costs more than it gains.
        "jit = off".to_owned(),
        "timezone = 'UTC'".to_owned(),
        "log_timezone = 'UTC'".to_owned(),
        "log_line_prefix = '%m [%p] %q%u@%d '".to_owned(),
        "log_lock_waits = on".to_owned(),
        "log_checkpoints = off".to_owned(),
        // Half-open sessions of killed containers give their connections back.
        "client_connection_check_interval = 10s".to_owned(),
    ];
    if has_statements {
        lines.push("shared_preload_libraries = 'pg_stat_statements'".to_owned());
    }
    if kind == Kind::Throwaway {
        lines
            .extend(["fsync = off", "synchronous_commit = off", "full_page_writes = off"].map(str::to_owned));
    }
    lines.join("\n") + "\n"
}

/// What no file may change.
pub fn fixed(data: &Path, socket: &Path) -> Vec<String> {
    let file = |name: &str| data.join(name).display().to_string();
    [
        ("listen_addresses", String::new()),
        ("port", "5432".to_owned()),
        ("unix_socket_directories", quoted_directory(socket)),
        ("unix_socket_permissions", "0777".to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("hba_file", file("pg_hba.conf")),
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
    ]
    .into_iter()
    .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")])
    .collect()
}

/// The setting is a list, separated by commas: a path with one needs quotes.
fn quoted_directory(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('"', "\"\""))
}

/// The machine's memory.
pub fn memory_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib =
        total.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.map_or(2 * MIB_PER_GIB, |kib| kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_on_small_and_large_machines() {
        let small = file(Kind::Tenants, 512, false);
        assert!(small.contains("shared_buffers = 128MB") && small.contains("work_mem = 4MB"), "{small}");
        let large = file(Kind::Tenants, 1 << 20, true);
        assert!(large.contains("shared_buffers = 8192MB") && large.contains("work_mem = 32MB"), "{large}");
        assert!(large.contains("pg_stat_statements") && !large.contains("fsync"));
    }

    #[test]
    fn every_rule_of_pg_hba_asks_for_a_password() {
        let rules: Vec<_> = HBA.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(rules, ["local all all scram-sha-256"]);
    }
}
