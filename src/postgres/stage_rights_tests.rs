//! What a member may do to a branch depends on its stage, by whichever door they come.

use super::rights_actors::{ACTORS, DATABASE, id, person, project, start};
use sqlx::{Connection, Executor, PgConnection};

/// Statement, and who may: the actors' names in the matrix.
fn cases() -> Vec<(String, Vec<&'static str>)> {
    let (branch, environment) = (|n| id(40, 10, n), |n| id(41, 10, n));
    let everybody = vec!["dev", "test", "admn", "ownr", "plat", "jwt", "psql", "opsa"];
    let testers = vec!["test", "admn", "ownr", "plat", "opsa"];
    let administrators = vec!["admn", "ownr", "plat", "opsa"];
    let owners = vec!["ownr", "plat", "opsa"];
    let moved = |n, to| format!("update ops.branches set stage = '{to}' where id = '{}'", branch(n));
    let pushed = |n| format!("update ops.branches set head_subject = 'x' where id = '{}'", branch(n));
    let destroyed =
        |n| format!("update ops.environments set state = 'destroying' where id = '{}'", environment(n));
    let made = |stage| {
        format!(
            "insert into ops.branches (project_id, name, stage) values ('{}', 'new', '{stage}')",
            project('a')
        )
    };
    let member = |role| {
        format!(
            "insert into ops.project_memberships (project_id, user_id, role) values ('{}', '{}', '{role}')",
            project('a'),
            person(1)
        )
    };
    let made_owner = format!(
        "update ops.project_memberships set role = 'owner' where project_id = '{}' and user_id = '{}'",
        project('a'),
        person(6)
    );
    let owner_is_made_viewer = made_owner.replace(&person(6), &person(7)).replace("'owner'", "'viewer'");
    let owner_is_removed = format!(
        "delete from ops.project_memberships where project_id = '{}' and user_id = '{}'",
        project('a'),
        person(7)
    );
    vec![
        (moved(1, "staging"), testers.clone()),
        (moved(1, "production"), administrators.clone()),
        (moved(2, "development"), testers.clone()),
        (moved(2, "production"), administrators.clone()),
        (moved(3, "development"), administrators.clone()),
        (pushed(1), everybody.clone()),
        (pushed(2), everybody.clone()),
        (pushed(3), administrators.clone()),
        (made("development"), everybody.clone()),
        (made("staging"), testers),
        (made("production"), administrators.clone()),
        (destroyed(1), [everybody.clone(), vec!["work"]].concat()),
        (destroyed(3), [owners.clone(), vec!["work"]].concat()),
        (member("viewer"), administrators.clone()),
        (member("owner"), owners.clone()),
        (made_owner, owners.clone()),
        (owner_is_made_viewer, owners.clone()),
        (owner_is_removed, owners),
    ]
}

fn fill() -> String {
    let mut sql = String::new();
    for (n, stage) in [(1, "development"), (2, "staging"), (3, "production")] {
        sql += &format!(
            "insert into ops.branches (id, project_id, name, stage) values ('{branch}', '{project}', '{stage}', '{stage}');
             insert into ops.environments (id, project_id, stage, git_ref, commit_sha, database_name, hostname, state)
                 values ('{environment}', '{project}', '{stage}', 'x', 'abcdef0', '{stage}', '{stage}', 'running');",
            branch = id(40, 10, n),
            environment = id(41, 10, n),
            project = project('a'),
        );
    }
    sql
}

async fn succeeds(conn: &mut PgConnection, sql: &str) -> bool {
    match conn.execute(sql).await {
        Ok(done) => done.rows_affected() == 1,
        // One production a project: the right was there.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => true,
        Err(sqlx::Error::Database(error)) => {
            assert_eq!(error.code().as_deref(), Some("42501"), "{sql}: {error}");
            false
        }
        Err(error) => panic!("{sql}: {error}"),
    }
}

#[tokio::test]
async fn what_a_member_may_depends_on_the_stage_and_owners_make_owners() {
    let cluster = start().await;
    cluster.superuser(DATABASE).await.execute(fill().as_str()).await.unwrap();
    let mut wrong = Vec::new();
    for actor in ACTORS {
        let mut conn = actor.connect(&cluster).await;
        for (sql, may) in cases() {
            let mut txn = conn.begin().await.unwrap();
            actor.present(&mut txn).await;
            let does = succeeds(&mut txn, &sql).await;
            txn.rollback().await.unwrap();
            if does != may.contains(&actor.name) {
                wrong.push(format!("{} {}: {sql}", actor.name, if does { "may" } else { "may not" }));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
