//! The tables as Mermaid diagrams, one an area: all in one would be a wall.

use super::read::{ForeignKey, Table};
use std::collections::BTreeSet;
use std::fmt::Write;

/// What belongs together. A table that is not named here is shown at the end, under its own title.
const AREAS: [(&str, &str, &[&str]); 8] = [
    (
        "People and access",
        "Who there is, how they sign in, and what they did.",
        &[
            "users",
            "user_identities",
            "sessions",
            "login_links",
            "api_tokens",
            "ssh_keys",
            "project_memberships",
            "audit_log",
        ],
    ),
    (
        "Projects",
        "What people work on, and how it is set up.",
        &["projects", "branches", "workflows", "domains", "secrets", "policies", "approvals"],
    ),
    (
        "Runs",
        "The queue and its history.",
        &["runs", "run_events", "run_artifacts", "kind_limits", "run_priorities"],
    ),
    ("Logs", "What runs and servers print.", &["run_log_heads", "run_log_chunks", "log_sources"]),
    (
        "Environments",
        "What runs, what was saved of it, what it sent.",
        &["environments", "backups", "restores", "mails"],
    ),
    (
        "Hosts",
        "Machines and who works there.",
        &["hosts", "workers", "worker_heartbeats", "host_tokens", "clusters", "metric_samples"],
    ),
    (
        "Schedules and upkeep",
        "What is done again and again, and what keeps the platform clean.",
        &[
            "leaders",
            "schedules",
            "schedule_runs",
            "retention_settings",
            "reconciler_reports",
            "reconciler_requests",
            "quarantine",
        ],
    ),
    (
        "The platform",
        "What it is, and what it knows of tools and versions.",
        &["installation", "tools", "upgrade_advisories"],
    ),
];

pub fn write(tables: &[Table]) -> String {
    let mut out = String::from(
        "# The ops schema\n\n\
         <!-- Written by `cargo xtask catalogue` from a migrated database. Do not edit: change a migration. -->\n\n\
         One diagram an area. A box without columns belongs to another area. `||` is exactly one, `|o` none or one, \
         `o{` any number. Partitions are left out. Everything else (defaults, indexes, rules, comments) is in \
         [ops.dbml](ops.dbml).\n",
    );
    let named: BTreeSet<_> = AREAS.iter().flat_map(|(_, _, names)| names.iter().copied()).collect();
    for (title, what, names) in AREAS {
        // In the order of the list, which goes from what is asked for most to the rest.
        let members: Vec<_> =
            names.iter().filter_map(|name| tables.iter().find(|t| t.name == *name)).collect();
        area(&mut out, title, what, &members, tables);
    }
    let rest: Vec<_> = tables.iter().filter(|table| !named.contains(table.name.as_str())).collect();
    area(&mut out, "Other tables", "What belongs to no area yet.", &rest, tables);
    out
}

fn area(out: &mut String, title: &str, what: &str, members: &[&Table], all: &[Table]) {
    if members.is_empty() {
        return;
    }
    let _ = write!(out, "\n## {title}\n\n{what}\n\n```mermaid\nerDiagram\n");
    for table in members {
        let _ = writeln!(out, "    {} {{", table.name);
        let key = table.key();
        for column in &table.columns {
            let mut marks = Vec::new();
            if key.contains(&column.name.as_str()) {
                marks.push("PK");
            }
            if table.foreign_keys.iter().any(|key| key.columns.contains(&column.name)) {
                marks.push("FK");
            }
            let mark = if marks.is_empty() { String::new() } else { format!(" {}", marks.join(", ")) };
            let _ = writeln!(out, "        {} {}{mark}", column.kind.replace(' ', "_"), column.name);
        }
        out.push_str("    }\n");
    }
    for table in all {
        // Of the area's own tables, and what others of the schema have to do with them is in their own diagrams.
        if members.iter().any(|member| member.name == table.name) {
            for key in &table.foreign_keys {
                let _ = writeln!(out, "    {}", relation(table, key));
            }
        }
    }
    out.push_str("```\n");
    let comments: Vec<_> =
        members.iter().filter_map(|t| Some(format!("- `{}`: {}\n", t.name, t.comment.as_ref()?))).collect();
    if !comments.is_empty() {
        let _ = write!(out, "\n{}", comments.concat());
    }
}

fn relation(table: &Table, key: &ForeignKey) -> String {
    let required = key.columns.iter().all(|name| table.column(name).is_some_and(|column| column.not_null));
    let parent = if required { "||" } else { "|o" };
    // One child at most where the key's columns are unique in themselves.
    let is_unique = |index: &super::read::Index| {
        index.is_unique
            && index.only_where.is_none()
            && index.parts.iter().map(|p| &p.text).eq(key.columns.iter())
    };
    let child = if table.indexes.iter().any(is_unique) { "o|" } else { "o{" };
    format!("{} {parent}--{child} {} : {}", key.table, table.name, key.columns.join("_"))
}
