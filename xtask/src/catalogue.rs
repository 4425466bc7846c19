//! `cargo xtask catalogue`: the schema's documents, written from the live catalogue of a migrated database, so that
//! they cannot say what is not so.

mod dbml;
mod erd;
mod read;

use crate::machine::Machine;
use crate::postgres::Cluster;
use crate::setup::{Consent, Purpose, prepare};
use anyhow::{Context, Result, bail};
use std::process::ExitCode;

const DIRECTORY: &str = "docs/schema";

pub fn run(machine: &Machine, consent: Consent, check: bool) -> Result<ExitCode> {
    prepare(machine, consent, &[Purpose::Check])?;
    if check {
        self::check(machine)?;
        println!("{DIRECTORY} is current");
        return Ok(ExitCode::SUCCESS);
    }
    let directory = machine.root.join(DIRECTORY);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for (name, text) in documents(machine)? {
        std::fs::write(directory.join(name), text)?;
        println!("{DIRECTORY}/{name}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails when a document is not what the migrations make.
pub fn check(machine: &Machine) -> Result<()> {
    let stale: Vec<_> = documents(machine)?
        .into_iter()
        .filter(|(name, text)| {
            std::fs::read_to_string(machine.root.join(DIRECTORY).join(name)).ok().as_ref() != Some(text)
        })
        .map(|(name, _)| format!("{DIRECTORY}/{name}"))
        .collect();
    if !stale.is_empty() {
        bail!("{} not current: run `cargo xtask catalogue` and commit what it changes", stale.join(" and "));
    }
    Ok(())
}

fn documents(machine: &Machine) -> Result<[(&'static str, String); 2]> {
    let cluster = Cluster::start(machine)?;
    cluster.migrate()?;
    let tables = read::tables(&cluster)?;
    Ok([("erd.md", erd::write(&tables)), ("ops.dbml", dbml::write(&tables))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_in_both_documents_the_same_each_time() -> Result<()> {
        let machine = Machine::look()?;
        let cluster = Cluster::start(&machine)?;
        cluster.migrate()?;
        let names = cluster.query(
            "select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'p')
             and not relispartition",
        )?;
        let tables = read::tables(&cluster)?;
        let (erd, dbml) = (erd::write(&tables), dbml::write(&tables));
        assert!(names.lines().count() > 20);
        for name in names.lines() {
            assert!(erd.contains(&format!("    {name} {{\n")), "{name} in erd.md");
            assert!(dbml.contains(&format!("Table ops.{name} {{\n")), "{name} in ops.dbml");
        }
        assert!(!dbml.contains("_default {"), "partitions are left out");
        // Partitions of some days change nothing.
        cluster.query("set role ops_owner; select ops.make_partition('run_events', current_date)")?;
        let again = read::tables(&cluster)?;
        assert_eq!((erd::write(&again), dbml::write(&again)), (erd, dbml));
        cluster.query(
            "set role ops_owner; comment on table ops.runs is 'It''s new'; alter table ops.runs add x int",
        )?;
        let changed = dbml::write(&read::tables(&cluster)?);
        assert!(changed.contains("  \"x\" integer\n") && changed.contains(r"Note: 'It\'s new'"));
        Ok(())
    }
}
