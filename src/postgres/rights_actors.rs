//! Who asks: every login and every person that the schema tells apart, on a cluster where all of them can be made.

use super::{ops::MIGRATIONS, testing_cluster::TestCluster};
use sqlx::{ConnectOptions, Executor, PgConnection};

pub const DATABASE: &str = "control";
pub const ISSUER: &str = "https://id.example";

/// How a session says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The console's login, which names the user of each transaction.
    Console,
    /// PostgREST's login: the request's claims.
    Claims,
    /// A login of one's own.
    Login(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// In the head of the matrix.
    pub name: &'static str,
    pub door: Door,
    /// The number of the person in `ops.users`; 0 is nobody.
    pub person: u8,
}

const fn actor(name: &'static str, door: Door, person: u8) -> Actor {
    Actor { name, door, person }
}

/// In the order of the matrix' columns. Project a is theirs, project b the other's.
pub const ACTORS: [Actor; 18] = [
    // Nobody is signed in.
    actor("anon", Door::Console, 0),
    // A user without any membership.
    actor("strg", Door::Console, 1),
    // The owner of project b.
    actor("othr", Door::Console, 2),
    actor("view", Door::Console, 3),
    actor("dev", Door::Console, 4),
    actor("test", Door::Console, 5),
    actor("admn", Door::Console, 6),
    actor("ownr", Door::Console, 7),
    // An owner whose account was closed.
    actor("gone", Door::Console, 8),
    actor("plat", Door::Console, 9),
    // A developer by PostgREST, and one whose claims nobody here has.
    actor("jwt", Door::Claims, 10),
    actor("fake", Door::Claims, 0),
    // A developer by psql, with a login of their own; and a login that is no user's.
    actor("psql", Door::Login("dana"), 11),
    actor("nobo", Door::Login("nemo"), 0),
    actor("work", Door::Login("ops_worker"), 0),
    actor("opsa", Door::Login("root_admin"), 0),
    // Who merges and drops what is old; and a joined machine whose host is not there any more.
    actor("retn", Door::Login("keeper"), 0),
    actor("host", Door::Login("ops_host_gone"), 0),
];

/// The id of the nth object of a kind in project a (10), in b (11), or of the platform (0).
pub fn id(kind: u16, project: u16, number: u16) -> String {
    format!("01990000-0000-7000-8000-{kind:04x}{project:04x}{number:04x}")
}

pub fn person(number: u8) -> String {
    id(1, 0, number.into())
}

pub fn project(letter: char) -> String {
    id(2, letter_number(letter), 0)
}

/// Counts as b: the same person's.
pub fn other_project() -> String {
    id(2, 12, 0)
}

pub fn letter_number(letter: char) -> u16 {
    if letter == 'a' { 10 } else { 11 }
}

pub async fn start() -> TestCluster {
    let cluster = TestCluster::start().await;
    cluster.database(DATABASE, "somebody").await;
    MIGRATIONS.run(&cluster.pool(DATABASE, "somebody", 1)).await.unwrap();
    cluster.open("ops_web").await;
    cluster.open("ops_worker").await;
    let mut superuser = cluster.superuser(DATABASE).await;
    for (role, given) in [
        ("authenticator", "ops_web"),
        ("dana", "ops_web"),
        ("nemo", "ops_web"),
        ("root_admin", "ops_admin"),
        ("keeper", "ops_retention"),
        ("ops_host_gone", "ops_worker"),
    ] {
        let inherits = if role == "authenticator" { "NOINHERIT" } else { "INHERIT" };
        cluster.login(role, inherits).await;
        superuser.execute(format!("grant {given} to {role}").as_str()).await.unwrap();
    }
    superuser.execute(people().as_str()).await.unwrap();
    cluster
}

fn people() -> String {
    let mut sql = String::new();
    for actor in ACTORS.iter().filter(|actor| actor.person > 0) {
        let (name, id) = (actor.name, person(actor.person));
        let role = if let Door::Login(role) = actor.door { format!("'{role}'") } else { "null".to_owned() };
        let closed = if name == "gone" { "'2026-01-01Z'" } else { "null" };
        sql += &format!(
            "insert into ops.users (id, name, email, platform_admin, db_role, disabled_at)
                 values ('{id}', '{name}', '{name}@example.com', {}, {role}, {closed});
             insert into ops.user_identities (user_id, issuer, subject) values ('{id}', '{ISSUER}', '{name}');",
            name == "plat"
        );
    }
    // Of b's owner there is another, so that "one" is not said of both.
    sql += &format!("insert into ops.projects (id, slug, name) values ('{}', 'c', 'x');", other_project());
    sql += &format!(
        "insert into ops.project_memberships (project_id, user_id, role) values ('{}', '{}', 'owner');",
        other_project(),
        person(2)
    );
    for letter in ['a', 'b'] {
        sql += &format!(
            "insert into ops.projects (id, slug, name) values ('{}', '{letter}', 'x');",
            project(letter)
        );
    }
    for (person_of, letter, role) in [
        (2, 'b', "owner"),
        (3, 'a', "viewer"),
        (4, 'a', "developer"),
        (5, 'a', "tester"),
        (6, 'a', "admin"),
        (7, 'a', "owner"),
        (8, 'a', "owner"),
        (10, 'a', "developer"),
        (11, 'a', "developer"),
    ] {
        sql += &format!(
            "insert into ops.project_memberships (project_id, user_id, role) values ('{}', '{}', '{role}');",
            project(letter),
            person(person_of)
        );
    }
    sql
}

impl Actor {
    pub async fn connect(&self, cluster: &TestCluster) -> PgConnection {
        let role = match self.door {
            Door::Console => "ops_web",
            Door::Claims => "authenticator",
            Door::Login(role) => role,
        };
        cluster.options(DATABASE, role).connect().await.unwrap()
    }

    /// Says within the transaction who asks.
    pub async fn present(&self, conn: &mut PgConnection) {
        match self.door {
            Door::Console if self.person > 0 => {
                let sql = format!("select set_config('ops.user_id', '{}', true)", person(self.person));
                conn.execute(sql.as_str()).await.unwrap();
            }
            Door::Claims => {
                conn.execute("set local role ops_web").await.unwrap();
                let sql = format!(
                    "select set_config('request.jwt.claims', '{{\"iss\": \"{ISSUER}\", \"sub\": \"{}\"}}', true)",
                    self.name
                );
                conn.execute(sql.as_str()).await.unwrap();
            }
            Door::Console | Door::Login(_) => {}
        }
    }
}
