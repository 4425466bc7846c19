//! What has expired goes, by whole days; nothing else does, and nobody else can.

#![expect(clippy::disallowed_methods, reason = "names of partitions are put together")]

use super::{Patience, RetentionError, run, store_settings};
use crate::{config::Config, postgres::testing::TestDb};
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::time::Duration;

const AT_ONCE: Patience = Patience { tries: 1, pause: Duration::ZERO };

async fn superuser(db: &TestDb) -> PgConnection {
    db.superuser_options().connect().await.unwrap()
}

async fn run_sql(conn: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(sql).execute(conn).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

async fn number(conn: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap_or_else(|error| panic!("{error}: {sql}"))
}

/// Every table that has a partition a day, how it names the time, and what a row of it is.
const TABLES: [(&str, &str, &str, i32); 4] = [
    ("audit_log", "created_at", "(action, object_type, outcome, created_at) select 'x', 'y', 'allowed', at", 365),
    ("metric_samples", "at", "(at, metric, value) select at, 'cpu', 1", 90),
    ("run_events", "created_at", "(run_id, project_id, type, created_at) select gen_random_uuid(), gen_random_uuid(), 'x', at", 365),
    (
        "run_log_chunks",
        "created_at",
        "(run_id, project_id, run_number, first_seq, last_seq, stream, first_at, created_at, bytes, marks, body)
         select gen_random_uuid(), gen_random_uuid(), 1, 1, 1, 'odoo', at, at, 1, 'i', 'x' || chr(10)",
        30,
    ),
];

async fn insert(conn: &mut PgConnection, table: &str, row: &str, days_ago: i32) {
    let at = format!(
        "date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - make_interval(days => {days_ago}) + interval '1 hour'"
    );
    run_sql(conn, &format!("insert into ops.{table} {row} from (select {at} as at) moment")).await;
}

#[tokio::test]
async fn every_table_that_grows_by_the_day_is_known_here_and_has_its_time() {
    let db = TestDb::new().await;
    let tables = sqlx::query!(
        r#"select t.parent as "parent!", t.by_column as "by_column!", s.days as "days?"
           from ops.partitioned_tables() t left join ops.retention_settings s on s.table_name = t.parent"#
    );
    let tables = tables.fetch_all(&mut superuser(&db).await).await.unwrap();
    let found: Vec<_> = tables.iter().map(|t| (t.parent.as_str(), t.by_column.as_str(), t.days)).collect();
    let expected: Vec<_> =
        TABLES.iter().map(|(table, column, _, days)| (*table, *column, Some(*days))).collect();
    assert_eq!(found, expected, "a new one needs a row in ops.retention_settings and here");
}

#[tokio::test]
async fn exactly_what_is_older_than_it_is_kept_goes() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    for (table, _, row, days) in TABLES {
        // Days with partitions, one on each side of the line, and two in the default partition likewise.
        for ago in [days + 1, days] {
            run_sql(
                &mut conn,
                &format!("select ops.make_partition('{table}', (now() at time zone 'UTC')::date - {ago})"),
            )
            .await;
        }
        for ago in [days + 400, days + 1, days, days - 1, 0] {
            insert(&mut conn, table, row, ago).await;
        }
    }
    let done = run(&db.worker, AT_ONCE).await.unwrap();
    assert_eq!((done.dropped.len(), done.emptied.len()), (4, 4), "{done:?}");
    for (table, column, _, days) in TABLES {
        let kept = number(&mut conn, &format!("select count(*) from ops.{table}")).await;
        assert_eq!(kept, 3, "{table}");
        let line = format!(
            "date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - make_interval(days => {days})"
        );
        let expired =
            number(&mut conn, &format!("select count(*) from ops.{table} where {column} < {line}")).await;
        assert_eq!(expired, 0, "{table}");
        // Still a partition, with its guards.
        let attached = number(
            &mut conn,
            &format!("select count(*) from pg_inherits where inhrelid = 'ops.{table}_default'::regclass"),
        )
        .await;
        assert_eq!(attached, 1, "{table}");
    }
    assert_eq!(run(&db.worker, AT_ONCE).await.unwrap().dropped, Vec::<String>::new());
    recorded_rows_stay(&db, &mut conn).await;
}

/// Update, delete and truncate are refused for everybody, the superuser too, in the table and by a partition's name.
async fn recorded_rows_stay(db: &TestDb, conn: &mut PgConnection) {
    for table in ["audit_log", "run_events", "run_log_chunks"] {
        let partitions: Vec<String> = sqlx::query_scalar(&format!(
            "select inhrelid::regclass::text from pg_inherits where inhparent = 'ops.{table}'::regclass order by 1"
        ))
        .fetch_all(&mut *conn)
        .await
        .unwrap();
        assert!(partitions.len() > 8);
        for name in partitions.iter().map(String::as_str).chain([format!("ops.{table}").as_str()]) {
            let is_empty = number(conn, &format!("select count(*) from {name}")).await == 0;
            for change in [
                format!("truncate {name}"),
                format!("delete from {name}"),
                format!("update {name} set created_at = created_at"),
            ] {
                // What has no row has no row to refuse.
                if is_empty && !change.starts_with("truncate") {
                    continue;
                }
                let refused = sqlx::raw_sql(&change).execute(&mut *conn).await;
                let error = refused.expect_err(&change);
                assert_eq!(error.as_database_error().unwrap().code().unwrap(), "0A000", "{change}");
            }
        }
        for pool in [&db.worker, &db.web, &db.owner] {
            for change in ["delete from", "truncate"] {
                let refused = sqlx::raw_sql(&format!("{change} ops.{table}")).execute(pool).await;
                let code = refused.unwrap_err().as_database_error().unwrap().code().unwrap().into_owned();
                assert!(["0A000", "42501"].contains(&code.as_str()), "{change} {table}: {code}");
            }
        }
    }
    for pool in [&db.worker, &db.web] {
        let refused = sqlx::raw_sql("drop table ops.run_events_default").execute(pool).await;
        assert_eq!(refused.unwrap_err().as_database_error().unwrap().code().unwrap(), "42501");
        let refused = sqlx::raw_sql("update ops.retention_settings set days = 1").execute(pool).await;
        assert_eq!(refused.unwrap_err().as_database_error().unwrap().code().unwrap(), "42501");
    }
}

/// Nobody waits for long behind a reader, and the reader is left alone.
#[tokio::test]
async fn what_is_being_read_is_left_for_the_next_time() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    run_sql(&mut conn, "select ops.make_partition('run_events', (now() at time zone 'UTC')::date - 400)")
        .await;
    let mut reader = superuser(&db).await;
    let mut reading = reader.begin().await.unwrap();
    sqlx::raw_sql("select * from ops.run_events").execute(&mut *reading).await.unwrap();
    let error = run(&db.worker, AT_ONCE).await.unwrap_err();
    let RetentionError::Busy { tables, done } = &error else { panic!("{error}") };
    assert!(tables.iter().all(|table| table.starts_with("run_events_")) && tables.len() == 1, "{tables:?}");
    assert!(done.dropped.is_empty());
    // Tried again, it succeeds when the reader is gone.
    let patient = Patience { tries: 600, pause: Duration::from_millis(50) };
    let job = tokio::spawn({
        let pool = db.worker.clone();
        async move { run(&pool, patient).await }
    });
    reading.rollback().await.unwrap();
    let done = job.await.unwrap().unwrap();
    assert_eq!(done.dropped.len(), 1);
}

/// Rows came before anybody made the day's partition: they move into it, and the day has one.
#[tokio::test]
async fn a_day_whose_rows_lie_in_the_default_partition_gets_its_own() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    for (table, _, row, _) in TABLES {
        for ago in [0, 0, 1, -3] {
            insert(&mut conn, table, row, ago).await;
        }
        let lying = number(&mut conn, &format!("select count(*) from ops.{table}_default")).await;
        assert_eq!(lying, 4, "{table}");
    }
    sqlx::query_scalar!("select ops.ensure_partitions()").fetch_one(&db.worker).await.unwrap();
    for (table, _, row, _) in TABLES {
        assert_eq!(
            number(&mut conn, &format!("select count(*) from ops.{table}_default")).await,
            0,
            "{table}"
        );
        assert_eq!(number(&mut conn, &format!("select count(*) from ops.{table}")).await, 4, "{table}");
        // Yesterday to a week ahead, and the default.
        let parts = number(
            &mut conn,
            &format!("select count(*) from pg_inherits where inhparent = 'ops.{table}'::regclass"),
        )
        .await;
        assert_eq!(parts, 10, "{table}");
        insert(&mut conn, table, row, 0).await;
        assert_eq!(
            number(&mut conn, &format!("select count(*) from ops.{table}_default")).await,
            0,
            "{table}"
        );
    }
    let open = number(
        &mut conn,
        "select count(*) from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'p')
             and not (relrowsecurity and relforcerowsecurity)",
    );
    assert_eq!(open.await, 0);
    assert_eq!(
        sqlx::query_scalar!("select ops.ensure_partitions()").fetch_one(&db.worker).await.unwrap(),
        Some(0)
    );
    recorded_rows_stay(&db, &mut conn).await;
}

#[tokio::test]
async fn sessions_links_and_history_of_schedules_that_ended_go() {
    let db = TestDb::new().await;
    let mut conn = superuser(&db).await;
    run_sql(
        &mut conn,
        "select ops.platform_administrator();
         insert into ops.sessions (hash, user_id, provider, expires_at)
         select sha256(n::text::bytea), id, 'link', now() + make_interval(hours => n) from ops.users, generate_series(-2, 2) n
         where n <> 0;
         insert into ops.login_links (hash, user_id, expires_at)
         select sha256(n::text::bytea), id, now() - make_interval(hours => n) from ops.users, unnest(array[1, 23, 25, 99]) n;
         insert into ops.host_tokens (token_hash, expires_at)
         select sha256(n::text::bytea), now() - make_interval(days => n) from unnest(array[-1, 6, 8]) n;
         insert into ops.schedule_runs (schedule_id, due_at, state, created_at)
         select id, now() - make_interval(days => n), 'succeeded', now() - make_interval(days => n)
         from ops.schedules, unnest(array[400, 380, 364]) n",
    )
    .await;
    let done = run(&db.worker, AT_ONCE).await.unwrap();
    assert_eq!((done.sessions, done.login_links, done.host_tokens, done.schedule_runs), (2, 2, 1, 2));
    for (table, left) in [("sessions", 2), ("login_links", 2), ("host_tokens", 2), ("schedule_runs", 1)] {
        assert_eq!(number(&mut conn, &format!("select count(*) from ops.{table}")).await, left, "{table}");
    }
}

/// What is configured reaches the database, by its owner only.
#[tokio::test]
async fn what_is_configured_is_what_is_kept() {
    let db = TestDb::new().await;
    let mut flags = crate::config::Flags::default();
    flags.keys.insert("log_retention_days", "7".to_owned());
    flags.keys.insert("audit_retention_days", "3650".to_owned());
    let config = Config::load(&flags, |_| None).unwrap();
    let mut owner = db.owner.acquire().await.unwrap();
    store_settings(&mut owner, &config).await.unwrap();
    let days = |family: &'static str| {
        sqlx::query_scalar!("select days from ops.retention_settings where family = $1", family)
            .fetch_one(&db.owner)
    };
    assert_eq!((days("logs").await.unwrap(), days("audit").await.unwrap()), (7, 3650));
    assert_eq!((days("metrics").await.unwrap(), days("events").await.unwrap()), (90, 365));
}
