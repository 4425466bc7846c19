//! Row level security, measured: everybody tries everything on every table, and `rights_matrix.txt` says what comes of
//! it. A table that is not in there fails.

use super::{
    rights_actors::{ACTORS, Actor, DATABASE, other_project, person, project, start},
    rights_tables::{RELATIONS, Relation, Scope, fill},
};
use crate::postgres::testing_cluster::TestCluster;
use sqlx::{Executor, PgConnection, Row};
use std::collections::{BTreeMap, BTreeSet};

/// One line a relation, one group of four letters an actor: what select, insert, update and delete do.
///
/// ```text
/// .  not granted                        a b  rows of project a (of which they are), of project b
/// -  granted, but no row                m    their own rows
/// *  every row                          +    some rows
/// r  every row, but for what refers to them
/// ```
const MATRIX: &str = include_str!("rights_matrix.txt");

/// What a row that an actor adds refers to; what is added has a number of its own.
const SPARE: u16 = 9;
const NEW: u16 = 99;

async fn fill_tables(superuser: &mut PgConnection) {
    let mut sql = String::new();
    for relation in RELATIONS {
        let insert = |letter, user, number| {
            format!(
                "insert into ops.{} {};",
                relation.table(),
                fill(relation.insert, letter, user, number, number)
            )
        };
        let is_referred_to = matches!(relation.name, "runs" | "hosts" | "workers");
        match relation.scope {
            Scope::Project(_) => {
                let numbers: [(char, &[u16]); 2] = if is_referred_to {
                    [('a', &[1, SPARE]), ('b', &[1, 2, SPARE])]
                } else {
                    [('a', &[1]), ('b', &[1, 2])]
                };
                for (letter, numbers) in numbers {
                    sql.extend(numbers.iter().map(|number| insert(letter, 9, *number)));
                }
            }
            Scope::Person(_) => {
                let people = ACTORS.iter().filter(|actor| actor.person > 0);
                sql.extend(people.map(|actor| insert('a', actor.person, 1)));
            }
            Scope::Platform => {
                let numbers: &[u16] = if is_referred_to { &[1, 2, SPARE] } else { &[1, 2] };
                sql.extend(numbers.iter().map(|number| insert('a', 9, *number)));
            }
            Scope::Given(_) => {}
        }
    }
    superuser.execute(sql.as_str()).await.unwrap_or_else(|error| panic!("{error}"));
}

/// How many rows there are: of project a, of b, of this actor, in all.
#[derive(Debug, Clone, Copy)]
struct Counts {
    a: i64,
    b: i64,
    own: i64,
    all: i64,
}

async fn count(superuser: &mut PgConnection, relation: &Relation, actor: &Actor) -> Counts {
    let (project_of, person_of) = match relation.scope {
        Scope::Project(expression) => (expression, "null"),
        Scope::Person(expression) => ("null", expression),
        Scope::Given(expression) => match expression {
            "project_id" => (expression, "null"),
            "user_id" => ("null", expression),
            "id" if relation.name == "projects" => (expression, "null"),
            "id" => ("null", expression),
            _ => ("null", "null"),
        },
        Scope::Platform => ("null", "null"),
    };
    let sql = format!(
        "select count(*) filter (where {project_of}::uuid = '{}'), count(*) filter (where {project_of}::uuid in ('{}', '{}')),
                count(*) filter (where {person_of}::uuid = '{}'), count(*)
         from ops.{}",
        project('a'),
        project('b'),
        other_project(),
        person(actor.person),
        relation.table()
    );
    let row = superuser.fetch_one(sql.as_str()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    Counts { a: row.get(0), b: row.get(1), own: row.get(2), all: row.get(3) }
}

impl Counts {
    fn letter(&self, rows: i64) -> char {
        match rows {
            0 => '-',
            n if n == self.all => '*',
            n if n == self.own => 'm',
            n if n == self.a => 'a',
            n if n == self.b => 'b',
            _ => '+',
        }
    }
}

/// What came of one try, which is undone: rows touched, or why not.
enum Came {
    Rows(i64),
    NotGranted,
    Refused,
    /// Rights passed; what failed is a key or a check.
    Reached,
}

async fn try_out(conn: &mut PgConnection, sql: &str, counts_rows: bool) -> Came {
    conn.execute("savepoint attempt").await.unwrap();
    let result = if counts_rows {
        conn.fetch_one(sql).await.map(|row| row.get::<i64, _>(0))
    } else {
        conn.execute(sql).await.map(|done| i64::try_from(done.rows_affected()).unwrap())
    };
    conn.execute("rollback to attempt").await.unwrap();
    match result {
        Ok(rows) => Came::Rows(rows),
        Err(error) => {
            let refusal = error.as_database_error().unwrap_or_else(|| panic!("{sql}: {error}"));
            let (code, message) = (refusal.code().unwrap_or_default(), refusal.message());
            match &*code {
                "42501" if message.starts_with("permission denied") => Came::NotGranted,
                "42501" if message.contains("row-level security") => Came::Refused,
                "0A000" if message.ends_with("append-only") => Came::Refused,
                // Said before rights are looked at.
                "55000" if message.starts_with("cannot ") && message.contains(" view ") => Came::NotGranted,
                code if code.starts_with("23") => Came::Reached,
                _ => panic!("{sql}: {code} {message}"),
            }
        }
    }
}

/// Whose rows they may add: each project's, their own and another's.
async fn inserts(conn: &mut PgConnection, relation: &Relation, actor: &Actor) -> char {
    let own = if actor.person == 0 { 1 } else { actor.person };
    let other = if own == 1 { 2 } else { 1 };
    let tries: &[(char, char, u8)] = match relation.scope {
        Scope::Project(_) | Scope::Given("project_id") => &[('a', 'a', own), ('b', 'b', own)],
        Scope::Person(_) | Scope::Given("user_id") => &[('m', 'a', own), ('+', 'a', other)],
        Scope::Platform | Scope::Given(_) => &[('*', 'a', own)],
    };
    let mut allowed = String::new();
    for (letter, project, user) in tries {
        let sql = format!(
            "insert into ops.{} {}",
            relation.table(),
            fill(relation.insert, *project, *user, NEW, SPARE)
        );
        match try_out(conn, &sql, false).await {
            Came::NotGranted => return '.',
            Came::Refused | Came::Rows(0) => {}
            Came::Rows(_) | Came::Reached => allowed.push(*letter),
        }
    }
    match (allowed.len(), tries.len()) {
        (0, _) => '-',
        (allowed, tries) if allowed == tries => '*',
        _ => allowed.chars().next().unwrap(),
    }
}

async fn cell(conn: &mut PgConnection, relation: &Relation, actor: &Actor, counts: Counts) -> String {
    let table = relation.table();
    let letter = |came| match came {
        Came::Rows(rows) => counts.letter(rows),
        Came::NotGranted => '.',
        Came::Refused => '-',
        Came::Reached => 'r',
    };
    let counted = relation.column().map_or("*".to_owned(), |column| format!("coalesce({column}::text, '')"));
    let mut cell = String::new();
    let select = format!("select count({counted}) from ops.{table}");
    cell.push(letter(try_out(conn, &select, true).await));
    cell.push(if relation.insert.is_empty() { ' ' } else { inserts(conn, relation, actor).await });
    let update = format!("update ops.{table} set {}", relation.update);
    cell.push(letter(try_out(conn, &update, false).await));
    let delete = format!("delete from ops.{table}");
    cell.push(if relation.column().is_some() { ' ' } else { letter(try_out(conn, &delete, false).await) });
    cell
}

async fn measure(cluster: &TestCluster) -> BTreeMap<&'static str, Vec<String>> {
    let mut superuser = cluster.superuser(DATABASE).await;
    fill_tables(&mut superuser).await;
    let mut measured: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for actor in &ACTORS {
        let mut conn = actor.connect(cluster).await;
        conn.execute("begin").await.unwrap();
        actor.present(&mut conn).await;
        for relation in RELATIONS {
            let counts = count(&mut superuser, relation, actor).await;
            let cell = cell(&mut conn, relation, actor, counts).await;
            measured.entry(relation.name).or_default().push(cell);
        }
        conn.execute("rollback").await.unwrap();
    }
    measured
}

fn line(name: &str, cells: &[String]) -> String {
    format!("{name:<23} {}", cells.join(" ")).trim_end().to_owned()
}

#[tokio::test]
async fn everybody_may_do_what_the_matrix_says_and_nothing_else() {
    let cluster = start().await;
    let mut superuser = cluster.superuser(DATABASE).await;
    superuser.execute("select ops.ensure_partitions()").await.unwrap();
    let names = superuser
        .fetch_all(
            "select relname::text from pg_class where relnamespace = 'ops'::regnamespace
                 and relkind in ('r', 'p', 'v', 'm', 'f') and not relispartition",
        )
        .await
        .unwrap();
    let there: BTreeSet<String> = names.iter().map(|row| row.get(0)).collect();
    let known: BTreeSet<String> = RELATIONS.iter().map(|relation| relation.table().to_owned()).collect();
    let unknown: Vec<_> = there.symmetric_difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "{unknown:?}: write into rights_tables.rs how, and into rights_matrix.txt who"
    );

    let measured = measure(&cluster).await;
    let heads: Vec<String> = ACTORS.iter().map(|actor| format!("{:<4}", actor.name)).collect();
    let mut found = line("", &heads) + "\n";
    for relation in RELATIONS {
        found += &(line(relation.name, &measured[relation.name]) + "\n");
    }
    let differ: Vec<_> =
        MATRIX.lines().zip(found.lines()).filter(|(expected, found)| expected != found).collect();
    assert!(
        differ.is_empty() && MATRIX.lines().count() == found.lines().count(),
        "{differ:#?}\nmeasured:\n{found}"
    );
}

/// Partitions can be asked by their own names, below the policies of their table.
#[tokio::test]
async fn nobody_reaches_a_partition_by_its_own_name() {
    let cluster = start().await;
    let mut superuser = cluster.superuser(DATABASE).await;
    superuser.execute("select ops.ensure_partitions()").await.unwrap();
    let sql = "select relname::text from pg_class where relnamespace = 'ops'::regnamespace and relispartition
                   and relkind = 'r' order by 1";
    let partitions: Vec<String> =
        superuser.fetch_all(sql).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(partitions.len() > 4, "{partitions:?}");
    for actor in &ACTORS {
        let mut conn = actor.connect(&cluster).await;
        conn.execute("begin").await.unwrap();
        actor.present(&mut conn).await;
        for partition in &partitions {
            for sql in [
                format!("select count(*) from ops.{partition}"),
                format!("insert into ops.{partition} default values"),
                format!("update ops.{partition} set project_id = null"),
                format!("delete from ops.{partition}"),
                format!("truncate ops.{partition}"),
            ] {
                let came = try_out(&mut conn, &sql, sql.starts_with("select")).await;
                assert!(matches!(came, Came::NotGranted), "{}: {sql}", actor.name);
            }
        }
    }
}

/// What says who asks counts only where it may, and never twice.
#[tokio::test]
async fn a_session_is_one_person_and_only_the_doors_that_may_say_who() {
    let cluster = start().await;
    let claims = |name: &str| {
        format!("set local request.jwt.claims = '{{\"iss\": \"https://id.example\", \"sub\": \"{name}\"}}'")
    };
    let setting = |number: u8| format!("set local ops.user_id = '{}'", person(number));
    let own = Some(person(4));
    for (login, settings, expected) in [
        ("ops_web", vec![setting(4)], Ok(own.clone())),
        ("ops_web", vec![setting(4), claims("dev")], Ok(own.clone())),
        ("ops_web", vec![setting(4), claims("ownr")], Err("28000")),
        ("ops_web", vec![setting(4), claims("whoever")], Err("28000")),
        // Nobody's claims reach through the console's login.
        ("ops_web", vec![claims("plat")], Ok(None)),
        ("authenticator", vec![claims("dev")], Ok(own.clone())),
        ("authenticator", vec![setting(4), claims("dev")], Ok(own)),
        ("authenticator", vec![setting(9), claims("dev")], Err("28000")),
        ("authenticator", vec![setting(9)], Ok(None)),
        ("authenticator", vec![claims("gone")], Ok(None)),
        ("dana", vec![setting(9), claims("plat")], Ok(Some(person(11)))),
        ("nemo", vec![setting(9), claims("plat")], Ok(None)),
        ("ops_worker", vec![setting(9), claims("plat")], Ok(None)),
    ] {
        let mut conn = sqlx::ConnectOptions::connect(&cluster.options(DATABASE, login)).await.unwrap();
        conn.execute("begin").await.unwrap();
        if login == "authenticator" {
            conn.execute("set local role ops_web").await.unwrap();
        }
        for sql in &settings {
            conn.execute(sql.as_str()).await.unwrap();
        }
        let told = conn.fetch_one("select ops.current_user_id()::text").await;
        let told = match &told {
            Ok(row) => Ok(row.get::<Option<String>, _>(0)),
            Err(error) => Err(error.as_database_error().unwrap().code().unwrap().into_owned()),
        };
        assert_eq!(told, expected.map_err(str::to_owned), "{login} with {settings:?}");
    }
}
