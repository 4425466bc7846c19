//! `.sqlx`: the description of every query, so that the project compiles without a database. Made by compiling
//! all crates against a database that has exactly this clone's migrations.

use crate::machine::Machine;
use crate::postgres::Cluster;
use crate::setup::{Consent, Purpose, prepare};
use crate::step::Step;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// Where crates with queries begin. Touching these makes cargo compile them again: it does not know that the
/// descriptions are a result of compiling.
const ROOTS: [&str; 6] =
    ["src/lib.rs", "app/src/lib.rs", "server/src/main.rs", "server/src/lib.rs", "tests", "server/tests"];

pub fn run(machine: &Machine, consent: Consent, check: bool) -> Result<ExitCode> {
    prepare(machine, consent, &[Purpose::Check])?;
    let cluster = Cluster::start(machine)?;
    cluster.migrate()?;
    let committed = machine.root.join(".sqlx");
    let difference = compare(machine, &cluster.url(), &committed)?;
    if difference.is_empty() {
        println!(".sqlx is current");
        return Ok(ExitCode::SUCCESS);
    }
    if check {
        println!("{}", difference.join("\n"));
        bail!(".sqlx is not current: run `cargo xtask sqlx` and commit what it changes");
    }
    replace(&fresh_directory(machine)?, &committed)?;
    println!("{} descriptions changed in .sqlx", difference.len());
    Ok(ExitCode::SUCCESS)
}

/// Describes all queries anew; one line for each description that is not as committed.
pub fn compare(machine: &Machine, database_url: &str, committed: &Path) -> Result<Vec<String>> {
    let fresh = fresh_directory(machine)?;
    describe(machine, database_url, &fresh)?;
    Ok(differences(&contents(committed)?, &contents(&fresh)?))
}

fn fresh_directory(machine: &Machine) -> Result<PathBuf> {
    machine.scratch("sqlx")
}

fn describe(machine: &Machine, database_url: &str, into: &Path) -> Result<()> {
    std::fs::remove_dir_all(into)?;
    std::fs::create_dir_all(into)?;
    for root in ROOTS {
        touch(&machine.root.join(root))?;
    }
    let mut command = machine.command("cargo");
    command.args(["check", "--workspace", "--exclude", "xtask", "--all-targets"]);
    command.args(["--features", "odooops/native,app/ssr"]);
    command.env("DATABASE_URL", database_url).env("SQLX_OFFLINE", "false").env("SQLX_OFFLINE_DIR", into);
    Step::new(machine, "describe every query").run(command).map(drop)
}

fn touch(path: &Path) -> Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            touch(&entry?.path())?;
        }
    } else if path.extension().is_some_and(|e| e == "rs") && path.exists() {
        // The time of a file, for cargo alone; no row and no rule sees it.
        std::fs::File::options().append(true).open(path)?.set_modified(SystemTime::now())?;
    }
    Ok(())
}

fn contents(directory: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name.starts_with("query-") && name.ends_with(".json") {
            found.insert(name.to_owned(), std::fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}

fn differences(committed: &BTreeMap<String, String>, fresh: &BTreeMap<String, String>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, text) in fresh {
        match committed.get(name) {
            None => lines.push(format!("missing   {name}  {}", query_in(text))),
            Some(old) if old != text => lines.push(format!("differs   {name}  {}", query_in(text))),
            Some(_) => {}
        }
    }
    for (name, text) in committed.iter().filter(|(name, _)| !fresh.contains_key(*name)) {
        lines.push(format!("not used  {name}  {}", query_in(text)));
    }
    lines
}

fn query_in(description: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(description).unwrap_or_default();
    let query = value.get("query").and_then(|q| q.as_str()).unwrap_or_default();
    query.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(80).collect()
}

fn replace(fresh: &Path, committed: &Path) -> Result<()> {
    std::fs::create_dir_all(committed).with_context(|| format!("cannot create {}", committed.display()))?;
    for name in contents(committed)?.keys() {
        std::fs::remove_file(committed.join(name))?;
    }
    for (name, text) in contents(fresh)? {
        std::fs::write(committed.join(name), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_named_with_its_query() -> Result<()> {
        let (committed, fresh) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let write = |directory: &Path, name: &str, query: &str| {
            std::fs::write(
                directory.join(format!("query-{name}.json")),
                format!("{{\"query\": \"{query}\"}}"),
            )
        };
        write(committed.path(), "same", "select 1")?;
        write(fresh.path(), "same", "select 1")?;
        write(committed.path(), "old", "select 2")?;
        write(fresh.path(), "new", "select 3")?;
        write(committed.path(), "changed", "select 4")?;
        write(fresh.path(), "changed", "select 5")?;
        let lines = differences(&contents(committed.path())?, &contents(fresh.path())?);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().any(|l| l.starts_with("not used") && l.ends_with("select 2")));
        assert!(lines.iter().any(|l| l.starts_with("missing") && l.ends_with("select 3")));
        assert!(lines.iter().any(|l| l.starts_with("differs") && l.ends_with("select 5")));
        replace(fresh.path(), committed.path())?;
        assert!(differences(&contents(committed.path())?, &contents(fresh.path())?).is_empty());
        Ok(())
    }

    #[test]
    fn an_absent_directory_lacks_everything() -> Result<()> {
        let fresh = BTreeMap::from([("query-a.json".to_owned(), "{}".to_owned())]);
        assert_eq!(differences(&contents(Path::new("/nowhere-at-all"))?, &fresh).len(), 1);
        Ok(())
    }
}
