//! What this machine's PostgreSQL gives at most: pgbench with as many transactions, row writes and notifications as a
//! run's life has while no worker waits, on bare tables: no rights, no partitions, no checks, no history, one statement
//! a transaction, and a function only where a statement cannot write the same row twice.

use super::cluster::{Bench, PEERS};
use anyhow::{Context, Result, ensure};
use sqlx::Executor;
use std::{fs, time::Duration};

const TABLES: &str = "
create schema bare;
create table bare.runs (
    id bigint generated always as identity primary key, status text not null, worker text, lease bigint,
    queued_at timestamptz not null default now(), finished_at timestamptz
) with (fillfactor = 70);
create index on bare.runs (id) where status = 'queued';
create table bare.events (
    id bigint generated always as identity primary key, run_id bigint not null, type text not null,
    payload jsonb not null, created_at timestamptz not null default now()
);
create sequence bare.leases;
create function bare.claim_and_start(out c_id bigint, out c_lease bigint) language plpgsql as $$
begin
    update bare.runs set status = 'claimed', worker = 'w', lease = nextval('bare.leases')
    where id = (select id from bare.runs where status = 'queued' order by id limit 1 for update skip locked)
    returning id, lease into c_id, c_lease;
    if c_id is null then
        c_id := 0;
        c_lease := 0;
        return;
    end if;
    insert into bare.events (run_id, type, payload) values (c_id, 'claimed', '{\"worker\": \"w\"}');
    update bare.runs set status = 'running' where id = c_id and lease = c_lease;
    insert into bare.events (run_id, type, payload) values (c_id, 'started', '{\"worker\": \"w\"}');
end
$$;
";

/// Queue, claim and start, event, end: four transactions.
fn script(is_heard: bool) -> String {
    let heard = |text: &'static str| if is_heard { text } else { "" };
    format!(
        "with q as (insert into bare.runs (status) values ('queued') returning id)
         select id{queue} from q \\gset q_
         select c_id as id, c_lease as lease{claim} from bare.claim_and_start() \\gset c_
         with e as (insert into bare.events (run_id, type, payload) values (:c_id, 'note', '{{\"a\": 1}}') returning run_id)
         select count(*){event} from e;
         with u as (
             update bare.runs set status = 'succeeded', finished_at = now()
             where id = :c_id and lease = :c_lease returning id),
         e as (insert into bare.events (run_id, type, payload) select id, 'succeeded', '{{\"exit_code\": 0}}' from u)
         select count(*){change} from u;
        ",
        queue = heard(", pg_notify('bare_board', 'p'), pg_notify('bare_changed', id::text)"),
        claim = heard(", pg_notify('bare_board', 'p'), pg_notify('bare_changed', c_id::text)"),
        change = heard(", pg_notify('bare_board', 'p'), pg_notify('bare_changed', max(id)::text)"),
        event = heard(", pg_notify('bare_changed', max(run_id)::text)"),
    )
    // pgbench ends a statement at the end of its line unless told otherwise by a backslash command or semicolon.
    .lines()
    .map(str::trim)
    .collect::<Vec<_>>()
    .join(" ")
    .replace("\\gset q_ ", "\\gset q_\n")
    .replace("\\gset c_ ", "\\gset c_\n")
    .replace("; with", ";\nwith")
}

/// Lives a second.
pub async fn measure(bench: &Bench, clients: usize, time: Duration, is_heard: bool) -> Result<f64> {
    let mut conn = bench.superuser(PEERS).await?;
    conn.execute("drop schema if exists bare cascade").await?;
    conn.execute(TABLES).await?;
    let file = bench.folder().join("life.sql");
    fs::write(&file, script(is_heard))?;
    let output = bench
        .program("pgbench", PEERS)
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={clients}"))
        .arg(format!("--time={}", time.as_secs().max(1)))
        .arg("--file")
        .arg(&file)
        .output()
        .context("pgbench")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pgbench: {}", said.trim());
    let told = String::from_utf8_lossy(&output.stdout);
    let line = told.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench tells no rate")?;
    line.split_whitespace().next().and_then(|rate| rate.parse().ok()).context("pgbench tells no rate")
}
