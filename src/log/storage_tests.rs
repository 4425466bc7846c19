//! Lines in chunks: what goes in comes out, for those who may see it, and stays.

#![expect(clippy::disallowed_methods, reason = "what is bound differs from test to test")]

use super::query;
use crate::{
    id::RunId,
    postgres::{ops::Role, testing::TestDb},
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};
use uuid::Uuid;

struct Store {
    db: TestDb,
    superuser: PgConnection,
    project: Uuid,
    run: RunId,
}

#[derive(Debug, Clone, PartialEq)]
struct Line {
    id: i64,
    seq: i64,
    stream: String,
    level: String,
    message: String,
    metadata: String,
    at: i64,
}

async fn store() -> Store {
    let db = TestDb::new().await;
    let mut superuser = db.superuser_options().connect().await.unwrap();
    let project = superuser.fetch_one("select ops.create_project('p', 'P')").await.unwrap().get::<Uuid, _>(0);
    let queue = "select ops.queue_run('p', 'build', 'main', 'abcdef0')";
    let run = RunId(superuser.fetch_one(queue).await.unwrap().get(0));
    // Who has no lease appends under the first.
    superuser.execute("select ops.claim_next_run('w')").await.unwrap();
    Store { db, superuser, project, run }
}

impl Store {
    async fn append(&mut self, stream: &str, lines: &[(&str, &str)]) -> i64 {
        let levels: Vec<_> = lines.iter().map(|line| line.0).collect();
        let messages: Vec<_> = lines.iter().map(|line| line.1).collect();
        sqlx::query(
            "select ops.append_run_log($1, $2::text[], $3::text[], jsonb_build_object('stream', $4::text))",
        )
        .bind(self.run.0)
        .bind(levels)
        .bind(messages)
        .bind(stream)
        .fetch_one(&mut self.superuser)
        .await
        .unwrap()
        .get(0)
    }

    async fn append_one(&mut self, level: &str, message: &str, metadata: &str) -> i64 {
        sqlx::query("select ops.append_run_log($1, $2, $3, $4::jsonb)")
            .bind(self.run.0)
            .bind(level)
            .bind(message)
            .bind(metadata)
            .fetch_one(&mut self.superuser)
            .await
            .unwrap()
            .get(0)
    }

    async fn source(&mut self) -> (Uuid, i64) {
        let open = "select source_id, lease from ops.open_log_source($1, 'c0ffee', 'odoo', 'w')";
        let row = sqlx::query(open).bind(self.run.0).fetch_one(&mut self.superuser).await.unwrap();
        (row.get(0), row.get(1))
    }

    async fn view(&mut self) -> Vec<Line> {
        let rows = sqlx::query(
            "select id, seq, stream, log_level, message, metadata::text, (extract(epoch from created_at) * 1000000)::int8
             from ops.run_logs where run_id = $1 order by seq",
        )
        .bind(self.run.0)
        .fetch_all(&mut self.superuser)
        .await
        .unwrap();
        rows.iter()
            .map(|row| Line {
                id: row.get(0),
                seq: row.get(1),
                stream: row.get(2),
                level: row.get(3),
                message: row.get(4),
                metadata: row.get(5),
                at: row.get(6),
            })
            .collect()
    }

    async fn chunks(&mut self) -> i64 {
        self.superuser.fetch_one("select count(*) from ops.run_log_chunks").await.unwrap().get(0)
    }

    async fn end_run(&mut self) {
        let end = "update ops.runs set status = 'failed', finished_at = now() where id = $1";
        sqlx::query(end).bind(self.run.0).execute(&mut self.superuser).await.unwrap();
    }

    async fn merge(&mut self, chunks: i32) -> i32 {
        let merge = sqlx::query("select ops.merge_log_chunks($1)").bind(chunks);
        merge.fetch_one(&self.db.worker).await.unwrap().get(0)
    }
}

#[tokio::test]
async fn the_view_shows_what_was_written_in_whatever_form() {
    let mut store = store().await;
    let two = [("info", "one"), ("warn", "two\nlines"), ("error", ""), ("debug", "\u{1e}1\u{1f} äöü\r")];
    assert_eq!(store.append("git", &two).await, 4);
    assert_eq!(store.append_one("error", "", r#"{"stream": "hook", "a": [1]}"#).await, 5);
    assert_eq!(store.append_one("info", "x\n", "{}").await, 6);
    let (source, lease) = store.source().await;
    sqlx::query(
        "select ops.append_log_batch($1, $2, '{info,error}', '{a,b}', '{t,f}',
             array['2026-01-01 00:00:00.000001Z', '2026-01-02Z']::timestamptz[], '{}')",
    )
    .bind(source)
    .bind(lease)
    .execute(&mut store.superuser)
    .await
    .unwrap();
    sqlx::query(
        "select ops.append_log_chunks($1, $2, array[E'c\\n\\n', E'd\\n'], '{Iw,e}', '{2,1}',
             array['2026-01-03Z', '2026-01-04Z']::timestamptz[], '{0,-7,5}', '{}')",
    )
    .bind(source)
    .bind(lease)
    .execute(&mut store.superuser)
    .await
    .unwrap();
    let lines = store.view().await;
    let shown: Vec<_> = lines
        .iter()
        .map(|l| (l.stream.as_str(), l.level.as_str(), l.message.as_str(), l.metadata.as_str()))
        .collect();
    let continued = r#"{"continued": true}"#;
    assert_eq!(
        shown,
        [
            ("git", "info", "one", "{}"),
            ("git", "warn", "two\nlines", "{}"),
            ("git", "error", "", "{}"),
            ("git", "debug", "\u{1e}1\u{1f} äöü\r", "{}"),
            ("hook", "error", "", r#"{"a": [1], "stream": "hook"}"#),
            ("system", "info", "x\n", "{}"),
            ("odoo", "info", "a", continued),
            ("odoo", "error", "b", "{}"),
            ("odoo", "info", "c", continued),
            ("odoo", "warn", "", "{}"),
            ("odoo", "error", "d", "{}"),
        ]
    );
    assert!(lines.iter().zip(1..).all(|(line, seq)| line.seq == seq));
    assert!(lines.windows(2).all(|pair| pair[0].id + 1 == pair[1].id));
    let day = 86_400_000_000;
    let first = 1_767_225_600_000_000; // 2026-01-01
    let times: Vec<_> = lines[6..].iter().map(|line| line.at - first).collect();
    assert_eq!(times, [1, day, 2 * day, 2 * day - 7, 3 * day + 5]);
}

/// A page is the same whichever chunks it comes from, and no larger than was asked.
#[tokio::test]
async fn a_page_is_those_lines_of_the_view() {
    let mut store = store().await;
    let long = "x".repeat(90_000);
    for n in 0..40 {
        let count = [1, 1, 3, 700, 5000][n % 5];
        let lines: Vec<(&str, String)> = (0..count)
            .map(|i| ("info", if i % 900 == 899 { long.clone() } else { format!("{n} {i}") }))
            .collect();
        let lines: Vec<_> = lines.iter().map(|(level, text)| (*level, text.as_str())).collect();
        store.append("odoo", &lines).await;
    }
    let all = store.view().await;
    let last = all.len() as i64;
    let strategy = (-1..last + 2, 1..3000i64, prop_oneof![Just(i64::MAX), 0..400_000i64]);
    let mut runner = TestRunner::new(Config::with_cases(1));
    for _ in 0..60 {
        let (after, limit, bytes) = strategy.new_tree(&mut runner).unwrap().current();
        let page = query::page_within(&mut store.superuser, store.run, after, limit, bytes).await.unwrap();
        let mut expected = Vec::new();
        let mut total = 0;
        for line in all.iter().filter(|line| line.seq > after).take(limit as usize) {
            total += line.message.len() as i64;
            if total > bytes && !expected.is_empty() {
                break;
            }
            expected.push((line.seq, line.message.as_str()));
        }
        let page: Vec<_> = page.iter().map(|line| (line.seq, line.message.as_str())).collect();
        assert!(page == expected, "after {after}, {limit} lines, {bytes} bytes: {} lines", page.len());
    }
}

#[tokio::test]
async fn what_was_dropped_at_the_front_is_no_end_of_the_log() {
    let mut store = store().await;
    store.append("odoo", &vec![("info", "x"); 20_000]).await;
    let mut txn = store.superuser.begin().await.unwrap();
    txn.execute("set local role ops_retention").await.unwrap();
    txn.execute("delete from ops.run_log_chunks where last_seq < 15000").await.unwrap();
    txn.commit().await.unwrap();
    let page = query::page(&mut store.superuser, store.run, 3, 10).await.unwrap();
    assert_eq!(page.len(), 10);
    assert!(page[0].seq > 10_000 && page[0].seq <= 15_000);
}

#[tokio::test]
async fn members_see_a_log_and_strangers_nothing() {
    let mut store = store().await;
    store.append("odoo", &[("info", "secret")]).await;
    let mut users = Vec::new();
    for name in ["member", "stranger"] {
        let insert = "insert into ops.users (name, email) values ($1, $1 || '@example.com') returning id";
        let user: Uuid = sqlx::query(insert).bind(name).fetch_one(&mut store.superuser).await.unwrap().get(0);
        users.push(user);
    }
    sqlx::query("insert into ops.project_memberships (project_id, user_id, role) values ($1, $2, 'viewer')")
        .bind(store.project)
        .bind(users[0])
        .execute(&mut store.superuser)
        .await
        .unwrap();
    for (user, expected) in [(Some(users[0]), 1), (Some(users[1]), 0), (None, 0)] {
        let mut txn = store.db.web.begin().await.unwrap();
        if let Some(user) = user {
            let set = sqlx::query("select set_config('ops.user_id', $1, true)").bind(user.to_string());
            set.execute(&mut *txn).await.unwrap();
        }
        for sql in ["select count(*) from ops.run_logs", "select count(*) from ops.run_log_chunks"] {
            assert_eq!(txn.fetch_one(sql).await.unwrap().get::<i64, _>(0), expected, "{sql}");
        }
        let page = query::page(&mut txn, store.run, 0, 10).await.unwrap();
        assert_eq!(page.len() as i64, expected);
        txn.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn merging_keeps_every_line_and_its_place() {
    let mut store = store().await;
    for n in 0..300 {
        let metadata = if n % 50 == 7 { r#"{"at": 7}"# } else { "{}" };
        store
            .append_one(
                ["info", "error"][n % 2],
                &format!("line {n}{}", ["", "\n"][usize::from(n == 99)]),
                metadata,
            )
            .await;
    }
    let big = "y".repeat(200_000);
    store.append("odoo", &[("warn", &big)]).await;
    for n in 0..100 {
        store.append(["odoo", "pip"][n / 50], &[("info", "z")]).await;
    }
    let (before, chunks) = (store.view().await, store.chunks().await);
    assert_eq!(chunks, 401);
    assert_eq!(store.merge(1000).await, 0, "a run under way is left alone");
    store.end_run().await;
    // Some at a time, as a job does it.
    let mut looked_at = 0;
    loop {
        match store.merge(70).await {
            0 => break,
            n => looked_at += n,
        }
    }
    assert_eq!(looked_at, 401);
    assert_eq!(store.view().await, before);
    let merged = store.chunks().await;
    assert!(merged <= 12, "{merged} chunks");
    // What a server prints afterwards is merged too, and what is merged stays.
    for n in 0..10 {
        store.append("odoo", &[("info", &format!("later {n}"))]).await;
    }
    let before = store.view().await;
    assert_eq!(store.merge(1000).await, 10);
    assert_eq!(store.view().await, before);
    assert_eq!(store.chunks().await, merged + 1);
}

#[tokio::test]
async fn nobody_changes_what_was_logged() {
    let mut store = store().await;
    store.append("odoo", &[("info", "kept")]).await;
    for role in ["postgres", "ops_owner", "ops_admin", "ops_worker", "ops_web"] {
        for sql in [
            "update ops.run_log_chunks set body = ''",
            "delete from ops.run_log_chunks",
            "truncate ops.run_log_chunks",
            "insert into ops.run_logs (message) values ('x')",
            "update ops.run_logs set message = ''",
            "delete from ops.run_logs",
        ] {
            let mut txn = store.superuser.begin().await.unwrap();
            if role != "postgres" {
                txn.execute(format!("set local role {role}").as_str()).await.unwrap();
            }
            let refused = txn.execute(sql).await.unwrap_err();
            let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
            // Append-only; no right; a view of this kind takes no rows.
            assert!(["0A000", "42501", "55000"].contains(&code.as_str()), "{role}: {sql}: {refused}");
        }
    }
    for role in [Role::Web, Role::Worker] {
        let mut conn = store.db.options(role).connect().await.unwrap();
        assert!(conn.execute("set role ops_retention").await.is_err(), "{role:?} becomes the retention role");
    }
    assert_eq!(store.view().await[0].message, "kept");
}

#[tokio::test]
async fn a_chunk_that_is_not_what_it_says_is_refused() {
    let mut store = store().await;
    let (source, lease) = store.source().await;
    for (body, marks, lines, code) in [
        ("a\nb\n", "ii", 3, "22023"),
        ("a\nb\n", "ii", 1, "22023"),
        ("a\nb", "i", 1, "22023"),
        ("a\nb\n", "iii", 2, "22023"),
        ("a\nb\n", "ix", 2, "22023"),
        ("", "i", 0, "22023"),
        ("a\n", "i", -1, "22023"),
    ] {
        let append = "select ops.append_log_chunks($1, $2, array[$3], array[$4], array[$5::int4], array[now()], '{0,1}', '{\"x\": 1}')";
        let refused = sqlx::query(append)
            .bind(source)
            .bind(lease)
            .bind(body)
            .bind(marks)
            .bind(lines)
            .execute(&mut store.superuser)
            .await
            .unwrap_err();
        assert_eq!(
            refused.as_database_error().unwrap().code().unwrap(),
            code,
            "{body:?} {marks} {lines}: {refused}"
        );
    }
    assert_eq!(store.view().await, []);
    // The position did not move either.
    let position = store.superuser.fetch_one("select position::text from ops.log_sources").await.unwrap();
    assert_eq!(position.get::<String, _>(0), "{}");
    let late = sqlx::query("select ops.append_log_chunks($1, $2, '{}', '{}', '{}', '{}', '{}', '{}')")
        .bind(source)
        .bind(lease - 1)
        .execute(&mut store.superuser)
        .await
        .unwrap_err();
    assert_eq!(late.as_database_error().unwrap().code().unwrap(), "55000");
}

/// Lines as Odoo prints them take less than a third of their size, with everything around them.
#[tokio::test]
async fn a_log_takes_a_fraction_of_its_size() {
    let mut store = store().await;
    let sample = "2026-11-21 01:37:%S,074 %P INFO prod_shop werkzeug: 10.0.%A.17 - - [21/Nov/2026 01:37:%S] \"POST /web/dataset/call_kw/%M/web_search_read HTTP/1.1\" 200 - %A 0.0%P 0.1%A";
    let mut raw = 0;
    for batch in 0..20_usize {
        let lines: Vec<String> = (0..2000)
            .map(|n| {
                let x = (batch * 2000 + n).wrapping_mul(2_654_435_761) >> 7;
                let model =
                    ["sale.order", "res.partner", "account.move", "stock.picking", "mail.message"][x % 5];
                sample
                    .replace("%S", &format!("{:02}", n / 40))
                    .replace("%P", &(x % 97).to_string())
                    .replace("%A", &(x / 97 % 251).to_string())
                    .replace("%M", model)
            })
            .collect();
        raw += lines.iter().map(|line| line.len() as i64 + 1).sum::<i64>();
        let lines: Vec<_> = lines.iter().map(|text| ("info", text.as_str())).collect();
        store.append("odoo", &lines).await;
    }
    let sizes = "select sum(pg_total_relation_size(inhrelid))::int8 - count(*) * 16384 from pg_inherits
                 where inhparent = 'ops.run_log_chunks'::regclass";
    let stored: i64 = store.superuser.fetch_one(sizes).await.unwrap().get(0);
    assert!(stored * 10 < raw * 3, "{stored} of {raw}");
}
