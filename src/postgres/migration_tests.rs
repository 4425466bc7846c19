//! Every installation gets to the newest schema, whichever it has, by `ops migrate` or by psql, and keeps its rows.
//! On an empty cluster, whose only privileged person is an owner with CREATEROLE: no superuser, no BYPASSRLS.

use super::{migration_samples::SAMPLES, ops::MIGRATIONS, testing_cluster::TestCluster};
use serde_json::Value;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row, migrate::Migrator};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// In the order of their names, which is the order of everybody who applies them by hand.
fn files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn first(count: usize) -> Migrator {
    Migrator { migrations: MIGRATIONS.iter().take(count).cloned().collect(), ..Migrator::DEFAULT }
}

/// All that schema `ops` is, as PostgreSQL itself would write it down, and the roles that came with it.
async fn everything(cluster: &TestCluster, database: &str, owner: &str) -> String {
    let dump = cluster
        .program("pg_dump", database, owner)
        .args(["--schema-only", "--schema=ops", "--role=ops_owner"])
        .output()
        .await
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    // Newer releases of pg_dump fence their output with a random word.
    let text = String::from_utf8(dump.stdout).unwrap();
    let lines =
        text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    let mut whole = lines.collect::<Vec<_>>().join("\n");
    let mut conn = cluster.superuser(database).await;
    for sql in [
        "select format('%s %s', rolname, to_jsonb(r) - 'oid' - 'rolname' - 'rolpassword')
         from pg_roles r where rolname like 'ops\\_%' order by 1",
        "select format('%s in %s by %s', m.member::regrole, m.roleid::regrole, m.admin_option)
         from pg_auth_members m where m.roleid::regrole::text like 'ops\\_%' order by 1",
        "select format('%s %s', n.nspname, n.nspacl) from pg_namespace n where n.nspname = 'ops'",
    ] {
        for row in conn.fetch_all(sql).await.unwrap() {
            whole = whole + "\n" + &row.get::<String, _>(0);
        }
    }
    whole
}

#[tokio::test]
async fn psql_in_the_order_of_names_makes_what_the_program_makes() {
    let (by_program, by_hand) = tokio::join!(TestCluster::start(), TestCluster::start());
    by_program.database("control", "somebody").await;
    let owner = by_program.pool("control", "somebody", 1);
    MIGRATIONS.run(&owner).await.unwrap();
    // Whoever starts the program again.
    MIGRATIONS.run(&owner).await.unwrap();
    by_hand.database("control", "somebody").await;
    for file in files() {
        by_hand.psql("control", "somebody", &file).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let (one, two) = (
        everything(&by_program, "control", "somebody").await,
        everything(&by_hand, "control", "somebody").await,
    );
    assert!(one.contains("CREATE FUNCTION ops.claim_next_run") && one.contains("ops_worker"), "{one}");
    let (one, two): (Vec<_>, Vec<_>) = (one.lines().collect(), two.lines().collect());
    for (line, (one, two)) in one.iter().zip(&two).enumerate() {
        assert_eq!(one, two, "line {line}");
    }
    assert_eq!(one.len(), two.len());
    let mut conn = by_hand.superuser("control").await;
    let privileged =
        "select count(*) from pg_roles where (rolsuper or rolbypassrls) and rolname <> 'postgres'";
    assert_eq!(conn.fetch_one(privileged).await.unwrap().get::<i64, _>(0), 0);
}

/// Two databases of one cluster share its roles: the second finds them there.
#[tokio::test]
async fn a_second_database_of_the_cluster_takes_the_roles_that_are_there() {
    let cluster = TestCluster::start().await;
    for name in ["one", "two"] {
        cluster.database(name, "somebody").await;
        MIGRATIONS.run(&cluster.pool(name, "somebody", 1)).await.unwrap();
    }
}

/// The rows of each table as whoever owns the schema reads them, under row level security.
async fn rows(conn: &mut PgConnection) -> BTreeMap<String, Vec<Value>> {
    conn.execute("set role ops_owner").await.unwrap();
    let names = "select c.relname::text from pg_class c
                 where c.relnamespace = 'ops'::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition
                 order by 1";
    let mut all = BTreeMap::new();
    for name in conn.fetch_all(names).await.unwrap() {
        let name: String = name.get(0);
        let sql = format!("select to_jsonb(t) from ops.{name} t");
        let found = conn.fetch_all(sql.as_str()).await.unwrap();
        all.insert(name, found.iter().map(|row| row.get(0)).collect());
    }
    conn.execute("reset role").await.unwrap();
    all
}

/// What a later migration may change of rows that are there, and why.
const CHANGED: &[(&str, &[&str])] = &[
    // Of the run's number and the line's since lines are kept in chunks, no longer a number of its own.
    ("run_logs", &["id"]),
];

fn is_kept(table: &str, before: &Value, after: &Value) -> bool {
    let changed = CHANGED.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, columns)| columns);
    let columns = before.as_object().unwrap();
    columns.iter().all(|(name, value)| changed.contains(&name.as_str()) || after.get(name) == Some(value))
}

#[tokio::test]
async fn whichever_migration_an_installation_stands_at_its_rows_survive_the_rest() {
    let cluster = TestCluster::start().await;
    let versions: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    for count in 1..=versions.len() {
        let name = format!("from_{count}");
        cluster.database(&name, "somebody").await;
        let owner = cluster.pool(&name, "somebody", 1);
        first(count).run(&owner).await.unwrap();
        let mut superuser = cluster.superuser(&name).await;
        for (_, sql) in SAMPLES.iter().filter(|(since, _)| *since <= versions[count - 1]) {
            superuser.execute(*sql).await.unwrap_or_else(|error| panic!("at {count}: {error}\n{sql}"));
        }
        let before = rows(&mut superuser).await;
        let empty: BTreeSet<_> =
            before.iter().filter(|(_, rows)| rows.is_empty()).map(|(name, _)| name).collect();
        assert!(
            empty.is_empty(),
            "no sample for {empty:?} at migration {count}: add one to migration_samples.rs"
        );

        MIGRATIONS.run(&owner).await.unwrap_or_else(|error| panic!("from {count}: {error}"));
        let after = rows(&mut superuser).await;
        for (table, rows) in &before {
            let now =
                after.get(table).unwrap_or_else(|| panic!("from {count}: {table} cannot be read any more"));
            for row in rows {
                let kept = now.iter().any(|now| is_kept(table, row, now));
                assert!(kept, "from {count}: {table} lost {row}\nit has {now:#?}");
            }
        }
        if versions[count - 1] >= 4 {
            goes_on(&mut superuser, count).await;
        }
        owner.close().await;
        superuser.close().await.unwrap();
    }
}

/// What was queued, claimed and running before is claimed, started and finished after.
async fn goes_on(conn: &mut PgConnection, count: usize) {
    let mut txn = conn.begin().await.unwrap();
    for (sql, expected) in [
        ("select id::text from ops.claim_next_run('late')", "01990000-0000-7000-8000-0000000000d1"),
        (
            "select (ops.start_workflow_run(id, 'w1', lease)).status from ops.runs
             where id = '01990000-0000-7000-8000-0000000000d2'",
            "running",
        ),
        (
            "select (ops.finish_run(id, lease, 'warning', 3, 'x')).status from ops.runs
             where id = '01990000-0000-7000-8000-0000000000d3'",
            "warning",
        ),
    ] {
        let row = txn.fetch_one(sql).await.unwrap_or_else(|error| panic!("from {count}: {error}\n{sql}"));
        assert_eq!(row.get::<String, _>(0), expected, "from {count}: {sql}");
    }
    txn.rollback().await.unwrap();
}

/// The program of a schema that is too old says so; it does not guess.
#[tokio::test]
async fn a_database_that_misses_a_migration_is_not_current() {
    let cluster = TestCluster::start().await;
    cluster.database("control", "somebody").await;
    let owner = cluster.pool("control", "somebody", 2);
    first(MIGRATIONS.iter().count() - 1).run(&owner).await.unwrap();
    assert!(!super::ops::is_current(&owner).await.unwrap());
    MIGRATIONS.run(&owner).await.unwrap();
    assert!(super::ops::is_current(&owner).await.unwrap());
    let mut other = cluster.options("control", "somebody").connect().await.unwrap();
    // A migration that was changed after it was applied is refused, whatever the change.
    other.execute("update public._sqlx_migrations set checksum = '\\x00' where version = 3").await.unwrap();
    assert!(MIGRATIONS.run(&owner).await.unwrap_err().to_string().contains('3'));
}
