//! What must hold of everything in the schema, whatever is added to it: read from PostgreSQL's own catalogue.

use super::testing::TestDb;
use sqlx::{ConnectOptions, Executor, PgConnection};

async fn superuser(db: &TestDb) -> PgConnection {
    db.superuser_options().connect().await.unwrap()
}

fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Partitions too: they can be asked by their own name.
#[tokio::test]
async fn every_table_has_forced_row_level_security_and_a_policy_for_each_command() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    let open = sqlx::query_scalar!(
        r#"select c.relname::text as "name!" from pg_catalog.pg_class c
           where c.relnamespace = 'ops'::regnamespace and c.relkind in ('r', 'p')
             and not (c.relrowsecurity and c.relforcerowsecurity) order by 1"#
    );
    none("tables without forced row level security", open.fetch_all(&mut conn).await.unwrap());
    let missing = sqlx::query_scalar!(
        r#"select format('%s for %s', c.relname, command.name) as "missing!"
           from pg_catalog.pg_class c
           cross join (values ('r', 'select'), ('a', 'insert'), ('w', 'update'), ('d', 'delete')) command (code, name)
           where c.relnamespace = 'ops'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
             -- What says only what the owner may says nothing of the others.
             and not exists (
                 select from pg_catalog.pg_policy p
                 where p.polrelid = c.oid and p.polcmd in ('*', command.code::"char")
                   and p.polroles <> array['ops_owner'::regrole::oid])
           order by 1"#
    );
    none("tables without a policy", missing.fetch_all(&mut conn).await.unwrap());
}

#[tokio::test]
async fn every_foreign_key_has_an_index_and_says_what_deleting_does() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    let silent = sqlx::query_scalar!(
        r#"select format('%s on %s', conname, conrelid::regclass) as "name!" from pg_catalog.pg_constraint
           where connamespace = 'ops'::regnamespace and contype = 'f' and conparentid = 0 and confdeltype = 'a'
           order by 1"#
    );
    none("foreign keys without ON DELETE", silent.fetch_all(&mut conn).await.unwrap());
    // The key's columns are the first of some index, in any order: deleting the parent finds its children by it.
    let unindexed = sqlx::query_scalar!(
        r#"select format('%s on %s', k.conname, k.conrelid::regclass) as "name!" from pg_catalog.pg_constraint k
           where k.connamespace = 'ops'::regnamespace and k.contype = 'f' and k.conparentid = 0
             and not exists (
                 select from pg_catalog.pg_index i
                 where i.indrelid = k.conrelid
                   -- A key is looked up by a value, which is never null.
                   and (i.indpred is null
                        or (cardinality(k.conkey) = 1 and pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', (
                               select attname from pg_catalog.pg_attribute
                               where attrelid = k.conrelid and attnum = k.conkey[1]))))
                   and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
           order by 1"#
    );
    none("foreign keys without an index", unindexed.fetch_all(&mut conn).await.unwrap());
}

#[tokio::test]
async fn functions_that_act_for_their_owner_have_a_fixed_search_path_and_an_owner_that_cannot_log_in() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    let loose = sqlx::query_scalar!(
        r#"select p.oid::regprocedure::text as "name!" from pg_catalog.pg_proc p
           join pg_catalog.pg_roles owner on owner.oid = p.proowner
           where p.pronamespace = 'ops'::regnamespace and p.prosecdef
             and (owner.rolcanlogin or owner.rolsuper or not exists (
                     select from unnest(p.proconfig) setting
                     where setting = 'search_path=pg_catalog, ops, pg_temp'))
           order by 1"#
    );
    none("functions with a loose search path or owner", loose.fetch_all(&mut conn).await.unwrap());
}

/// What anybody who can connect may call, and why that is harmless.
const FOR_EVERYBODY: [&str; 1] = [
    // Makes an id of the time and of chance; reads nothing.
    "ops.uuid_v7()",
];

#[tokio::test]
async fn no_function_is_for_everybody_without_a_reason() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    let public = sqlx::query_scalar!(
        r#"select p.oid::regprocedure::text as "name!" from pg_catalog.pg_proc p
           where p.pronamespace = 'ops'::regnamespace and has_function_privilege('public', p.oid, 'execute')
           order by 1"#
    );
    let public = public.fetch_all(&mut conn).await.unwrap();
    none(
        "functions for everybody",
        public.into_iter().filter(|name| !FOR_EVERYBODY.contains(&name.as_str())).collect(),
    );
}

/// Whoever writes: not even the owner of the schema changes what was recorded.
#[tokio::test]
async fn what_was_recorded_stays() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    let writable = sqlx::query_scalar!(
        r#"select format('%s: %s by %s', c.relname, privilege, r.rolname) as "name!"
           from pg_catalog.pg_class c
           cross join unnest(array['update', 'delete', 'truncate']) privilege
           cross join pg_catalog.pg_roles r
           where c.relnamespace = 'ops'::regnamespace and c.relname in ('run_events', 'run_logs', 'run_log_chunks', 'audit_log')
             and r.rolname in ('ops_web', 'ops_worker', 'ops_admin')
             and has_table_privilege(r.oid, c.oid, privilege)
           order by 1"#
    );
    none("what may be changed afterwards", writable.fetch_all(&mut conn).await.unwrap());
}

/// By anybody: whoever may by right, a trigger refuses too. Chunks of logs are merged by the retention role only.
#[tokio::test]
async fn what_was_recorded_refuses_to_be_changed_by_whomever() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    let id = "01990000-0000-7000-8000-000000000001";
    for sql in [
        format!("insert into ops.run_events (run_id, project_id, type) values ('{id}', '{id}', 'x')"),
        "insert into ops.audit_log (action, object_type, outcome) values ('x', 'x', 'allowed')".to_owned(),
        format!(
            "insert into ops.run_log_chunks (run_id, project_id, run_number, first_seq, last_seq, stream, first_at,
                                             bytes, marks, body)
             values ('{id}', '{id}', 1, 1, 1, 'x', now(), 2, 'i', E'x\\n')"
        ),
    ] {
        conn.execute(sql.as_str()).await.unwrap();
    }
    // None is the superuser, whom no right holds back.
    for role in [None, Some("ops_owner"), Some("ops_web"), Some("ops_worker"), Some("ops_admin")] {
        for table in ["run_events", "audit_log", "run_log_chunks"] {
            for sql in [
                format!("update ops.{table} set created_at = created_at"),
                format!("delete from ops.{table}"),
                format!("truncate ops.{table}"),
            ] {
                conn.execute("begin").await.unwrap();
                if let Some(role) = role {
                    conn.execute(format!("set local role {role}").as_str()).await.unwrap();
                }
                let refused = conn.execute(sql.as_str()).await;
                conn.execute("rollback").await.unwrap();
                let code = refused.err().and_then(|e| Some(e.as_database_error()?.code()?.into_owned()));
                let expected = if matches!(role, None | Some("ops_owner")) { "0A000" } else { "42501" };
                assert_eq!(code.as_deref(), Some(expected), "{sql} by {role:?}");
            }
        }
    }
}

/// `\df+` is the manual of who works with psql.
#[tokio::test]
async fn every_function_that_may_be_called_says_what_it_does() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    let silent = sqlx::query_scalar!(
        r#"select p.oid::regprocedure::text as "name!" from pg_catalog.pg_proc p
           where p.pronamespace = 'ops'::regnamespace and obj_description(p.oid, 'pg_proc') is null
             and exists (
                 select from pg_catalog.pg_roles r
                 where r.rolname in ('ops_web', 'ops_worker', 'ops_admin', 'ops_retention')
                   and has_function_privilege(r.oid, p.oid, 'execute'))
           order by 1"#
    );
    none("functions without a comment", silent.fetch_all(&mut conn).await.unwrap());
    // A refusal that a comment does not name surprises: each code that a body raises is in its comment.
    let unsaid = sqlx::query_scalar!(
        r#"select format('%s: %s', p.oid::regprocedure, code.found[1]) as "name!" from pg_catalog.pg_proc p
           cross join lateral regexp_matches(p.prosrc, 'errcode = ''(\w{5})''', 'g') as code (found)
           where p.pronamespace = 'ops'::regnamespace
             and obj_description(p.oid, 'pg_proc') not like '%' || code.found[1] || '%'
           order by 1"#
    );
    none("errors that no comment tells", unsaid.fetch_all(&mut conn).await.unwrap());
}
