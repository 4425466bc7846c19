//! What reaches from one project into another, or from one host to another's work: refused, by every login.

use super::{
    rights_actors::{ACTORS, DATABASE, id, project, start},
    testing_cluster::TestCluster,
};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};

const HOST: &str = "ops_host_00000000000000000000000000000001";
const COMMIT: &str = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3";

fn branch(letter: u16, number: u16) -> String {
    id(40, letter, number)
}

fn environment(letter: u16, number: u16) -> String {
    id(41, letter, number)
}

fn run(letter: u16, number: u16) -> String {
    id(42, letter, number)
}

/// Projects a (10) and b (11): each a branch in development (1), staging (2) and production (3), with a running
/// environment, and a queued build of each. Two machines beside the console's: one is HOST's.
async fn fill(cluster: &TestCluster) {
    cluster.login(HOST, "INHERIT").await;
    let mut sql = format!(
        "grant ops_worker to {HOST};
         insert into ops.hosts (id, name, db_role, joined_at) values ('{one}', 'one', '{HOST}', now()), ('{two}', 'two', null, null);
         select ops.register_worker('one', 'one', '1', 9, '{{build}}');
         select ops.register_worker('two', 'two', '1', 9, '{{build}}');",
        one = id(43, 0, 1),
        two = id(43, 0, 2)
    );
    for (number, letter) in [(10, 'a'), (11, 'b')] {
        for (n, stage) in [(1, "development"), (2, "staging"), (3, "production")] {
            sql += &format!(
                "insert into ops.branches (id, project_id, name, stage)
                     values ('{branch}', '{project}', '{stage}', '{stage}');
                 insert into ops.environments
                     (id, project_id, branch_id, stage, git_ref, commit_sha, database_name, hostname, state, host_id)
                     values ('{environment}', '{project}', '{branch}', '{stage}', 'x', 'abcdef0', '{letter}{stage}',
                             '{letter}{stage}', 'running', '{two}');
                 insert into ops.runs (id, project_id, branch_id, kind, git_ref, commit_sha, params, serial_key)
                     values ('{run}', '{project}', '{branch}', 'build', 'x', 'abcdef0',
                             '{{\"stage\": \"{stage}\"}}', 'branch:{branch}');",
                branch = branch(number, n),
                environment = environment(number, n),
                run = run(number, n),
                project = project(letter),
                two = id(43, 0, 2),
            );
        }
    }
    cluster.superuser(DATABASE).await.execute(sql.as_str()).await.unwrap();
}

/// The SQLSTATE, or nothing: it was done.
async fn refusal(conn: &mut PgConnection, sql: &str) -> Option<String> {
    match conn.execute(sql).await {
        Ok(done) if done.rows_affected() == 0 => Some("no row".to_owned()),
        Ok(_) => None,
        Err(sqlx::Error::Database(error)) => Some(error.code().unwrap_or_default().into_owned()),
        Err(error) => panic!("{sql}: {error}"),
    }
}

fn build(of: char, branch: &str, stage: &str, kind: &str, serial: &str) -> String {
    format!(
        "insert into ops.runs (project_id, branch_id, kind, git_ref, commit_sha, params, serial_key)
         values ('{}', {branch}, '{kind}', 'x', '{COMMIT}', '{{\"stage\": \"{stage}\"}}', {serial})",
        project(of)
    )
}

#[tokio::test]
async fn runs_are_of_their_own_project_and_stage() {
    let cluster = start().await;
    fill(&cluster).await;
    let everybody = ["dev", "test", "admn", "ownr", "plat", "jwt", "psql", "opsa"];
    let administrators = ["admn", "ownr", "plat", "opsa"];
    let nobody: [&str; 0] = [];
    let quoted = |text: String| format!("'{text}'");
    let (own, own_production) = (quoted(branch(10, 1)), quoted(branch(10, 3)));
    let foreign = quoted(branch(11, 3));
    let serial = |branch: &str| quoted(format!("branch:{}", branch.trim_matches('\'')));
    let cases: Vec<(String, &[&str])> = vec![
        (build('a', &own, "development", "build", &serial(&own)), &everybody),
        (build('a', &own, "staging", "build", "null"), &everybody),
        (build('a', "null", "development", "test", "null"), &everybody),
        (build('a', &own, "production", "build", "null"), &administrators),
        (build('a', &own_production, "production", "build", &serial(&own_production)), &administrators),
        // Another project's branch; another branch's place in the queue; the platform's own work; no such stage.
        (build('a', &foreign, "development", "build", "null"), &nobody),
        (build('a', &foreign, "production", "build", &serial(&foreign)), &nobody),
        (build('a', &own, "development", "move", &serial(&foreign)), &nobody),
        (build('a', "null", "development", "move", &serial(&foreign)), &nobody),
        (build('a', "null", "development", "maintenance", "null"), &nobody),
        (build('a', &own, "elsewhere", "build", "null"), &nobody),
        (format!("select ops.cancel_run('{}')", run(10, 2)), &everybody),
        (format!("select ops.cancel_run('{}')", run(10, 3)), &administrators),
        (format!("select ops.cancel_run('{}', '{}')", run(10, 1), run(11, 1)), &["plat", "opsa"][..0]),
        (format!("select ops.queue_run('a', 'build', 'x', '{COMMIT}')"), &everybody),
        (
            format!("select ops.queue_run('a', 'build', 'x', '{COMMIT}', '{{\"stage\": \"production\"}}')"),
            &administrators,
        ),
        (format!("select ops.queue_run('a', 'maintenance', 'x', '{COMMIT}')"), &nobody),
        (
            "insert into ops.audit_log (action, object_type, outcome) values ('x', 'y', 'allowed')"
                .to_owned(),
            &nobody,
        ),
    ];
    let mut wrong = Vec::new();
    for actor in ACTORS {
        let mut conn = actor.connect(&cluster).await;
        for (sql, may) in &cases {
            let mut txn = conn.begin().await.unwrap();
            actor.present(&mut txn).await;
            let refused = refusal(&mut txn, sql).await;
            txn.rollback().await.unwrap();
            if refused.is_none() != may.contains(&actor.name) {
                wrong.push(format!("{} {refused:?}: {sql}", actor.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_run_that_ended_is_run_again_by_who_may_queue_it_while_its_branch_is_there() {
    let cluster = start().await;
    fill(&cluster).await;
    let mut superuser = cluster.superuser(DATABASE).await;
    superuser.execute("update ops.runs set status = 'failed', finished_at = now()").await.unwrap();
    let deleted = format!("update ops.branches set deleted_at = now() where id = '{}'", branch(10, 2));
    superuser.execute(deleted.as_str()).await.unwrap();
    for (name, number, expected) in [
        ("dev", 1, None),
        ("view", 1, Some("42501")),
        ("othr", 1, Some("P0002")),
        ("dev", 3, Some("42501")),
        ("admn", 3, None),
        ("ownr", 2, Some("55000")),
    ] {
        let actor = ACTORS.into_iter().find(|actor| actor.name == name).unwrap();
        let mut conn = actor.connect(&cluster).await;
        let mut txn = conn.begin().await.unwrap();
        actor.present(&mut txn).await;
        let refused = refusal(&mut txn, &format!("select ops.rerun('{}')", run(10, number))).await;
        assert_eq!(refused.as_deref(), expected, "{name} {number}");
    }
}

/// The audit log says who did what and when by itself.
#[tokio::test]
async fn the_audit_log_is_the_consoles_about_who_asks() {
    let cluster = start().await;
    let entry = |of: char| format!("select ops.audit('{}', 'x', 'y', 'z', '{{}}')", project(of));
    for (name, of, expected) in [
        ("dev", 'a', None),
        ("dev", 'b', Some("P0002")),
        ("plat", 'b', None),
        ("strg", 'a', Some("P0002")),
        ("anon", 'a', Some("42501")),
        ("jwt", 'a', Some("42501")),
        ("psql", 'a', Some("42501")),
        ("work", 'a', Some("42501")),
    ] {
        let actor = ACTORS.into_iter().find(|actor| actor.name == name).unwrap();
        let mut conn = actor.connect(&cluster).await;
        let mut txn = conn.begin().await.unwrap();
        actor.present(&mut txn).await;
        assert_eq!(refusal(&mut txn, &entry(of)).await.as_deref(), expected, "{name} {of}");
    }
}

async fn claimed(conn: &mut PgConnection, worker: &str) -> (String, i64) {
    let sql = format!("select id::text, lease from ops.claim_next_run('{worker}')");
    let row = conn.fetch_one(sql.as_str()).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_joined_hosts_login_writes_of_its_own_work_only() {
    let cluster = start().await;
    fill(&cluster).await;
    let mut superuser = cluster.superuser(DATABASE).await;
    let (theirs, their_lease) = claimed(&mut superuser, "two").await;
    let source = format!(
        "select source_id::text, lease from ops.open_log_source('{theirs}', 'c0ffee', 'odoo', 'two')"
    );
    let row = superuser.fetch_one(source.as_str()).await.unwrap();
    let (their_source, source_lease): (String, i64) = (row.get(0), row.get(1));
    let lead = superuser.fetch_one("select ops.lead('schedules', 'two')").await.unwrap();
    let lead: i64 = lead.get(0);

    let mut host = cluster.options(DATABASE, HOST).connect().await.unwrap();
    let (own, lease) = claimed(&mut host, "one").await;
    let (new, newer) = (environment(10, 8), environment(10, 9));
    let create = |run: &str, lease: i64, id: &str, name: &str| {
        format!("select ops.create_environment('{run}', {lease}, '{id}', '{name}', '{name}')")
    };
    for sql in [
        create(&own, lease, &new, "new"),
        // Found again.
        create(&own, lease, &newer, "newer"),
        format!("update ops.environments set state = 'running', address = '127.0.0.1' where id = '{new}'"),
        format!("select ops.set_output_limit('{own}', 1000, {lease})"),
        format!("select ops.open_log_source('{own}', 'f00', 'odoo', 'one')"),
    ] {
        assert_eq!(refusal(&mut host, &sql).await, None, "{sql}");
    }
    let made =
        superuser.fetch_one("select count(*) from ops.environments where run_id is not null").await.unwrap();
    assert_eq!(made.get::<i64, _>(0), 1);

    let (production, own_host) = (environment(11, 3), id(43, 0, 1));
    for sql in [
        create(&theirs, their_lease, &newer, "newer"),
        create(&own, lease + 1000, &newer, "newer"),
        format!(
            "insert into ops.environments (id, project_id, branch_id, stage, git_ref, commit_sha, database_name,
                                           hostname, state, host_id)
             values ('{newer}', '{}', '{}', 'production', 'x', 'abcdef0', 'n', 'n', 'running', '{own_host}')",
            project('b'),
            branch(11, 3)
        ),
        format!("update ops.environments set branch_id = '{}' where id = '{new}'", branch(11, 3)),
        format!("update ops.environments set hostname = 'taken' where id = '{new}'"),
        format!("update ops.environments set run_id = '{theirs}' where id = '{new}'"),
        format!("update ops.environments set state = 'destroying' where id = '{production}'"),
        format!("select ops.retire_older_environments('{production}')"),
        format!("update ops.runs set environment_id = '{production}' where id = '{own}'"),
        format!("select ops.set_output_limit('{theirs}', 1, {their_lease})"),
        format!("select ops.open_log_source('{theirs}', 'c0ffee', 'odoo', 'one')"),
        format!("select ops.open_log_source('{theirs}', 'new', 'odoo', 'one')"),
        format!("select ops.open_log_source('{own}', 'new', 'odoo', 'two')"),
        format!(
            "select ops.append_log_chunks('{their_source}', {source_lease}, array[E'x\\n'], array['i'], array[1],
                                          array[now()], array[0], '{{}}')"
        ),
        format!("select ops.close_log_source('{their_source}', {source_lease})"),
        format!("select ops.end_log_source('{their_source}')"),
        format!("insert into ops.clusters (host_id) values ('{}')", id(43, 0, 2)),
        format!(
            "insert into ops.backups (id, project_id, kind, stage, database_name, commit_sha)
             values ('{newer}', '{}', 'manual', 'production', 'x', 'abcdef0')",
            project('b')
        ),
        "insert into ops.tools (name, tag, digest) values ('odoo', '19.0', 'sha256:' || repeat('0', 64))".to_owned(),
        "select ops.lead('schedules', 'one')".to_owned(),
        format!("select ops.resign('schedules', {lead})"),
        format!("select ops.claim_schedule_run({lead})"),
        "insert into ops.audit_log (action, object_type, outcome) values ('x', 'y', 'allowed')".to_owned(),
        "select ops.audit(null, 'x', 'y', 'z', '{}')".to_owned(),
    ] {
        let refused = refusal(&mut host, &sql).await;
        assert!(matches!(refused.as_deref(), Some("42501" | "55000" | "no row")), "{refused:?}: {sql}");
    }
    // Nothing of it was done.
    let left = superuser
        .fetch_one("select count(*) filter (where state = 'running'), count(*) from ops.environments")
        .await
        .unwrap();
    assert_eq!((left.get::<i64, _>(0), left.get::<i64, _>(1)), (7, 7));
    let revoked = format!("update ops.hosts set revoked_at = now() where id = '{own_host}'");
    superuser.execute(revoked.as_str()).await.unwrap();
    for sql in [
        format!("select ops.retire_older_environments('{new}')"),
        format!("select ops.set_output_limit('{own}', 1, {lease})"),
        format!("update ops.environments set address = '127.0.0.2' where id = '{new}'"),
    ] {
        let refused = refusal(&mut host, &sql).await;
        assert!(matches!(refused.as_deref(), Some("42501" | "no row")), "{refused:?}: {sql}");
    }
}
