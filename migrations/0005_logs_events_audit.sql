set role ops_owner;

-- Append-only: every state change and notable step of a run.
create sequence ops.run_events_id_seq;
create table ops.run_events (
    id bigint not null default nextval('ops.run_events_id_seq'),
    run_id uuid not null,
    project_id uuid not null,
    type text not null check (length(type) between 1 and 100),
    payload jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    primary key (id, created_at)
) partition by range (created_at);
create index run_events_run_id on ops.run_events (run_id, id);
create index run_events_project_id on ops.run_events (project_id);

-- Append-only: one row a line.
create sequence ops.run_logs_id_seq;
create table ops.run_logs (
    id bigint not null default nextval('ops.run_logs_id_seq'),
    run_id uuid not null,
    project_id uuid not null,
    -- 1, 2, 3 ... within the run.
    seq bigint not null,
    stream text not null,
    log_level text not null check (log_level in ('debug', 'info', 'warn', 'error')),
    message text not null,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    primary key (run_id, seq, created_at)
) partition by range (created_at);

-- Append-only: who did what to what, allowed or refused.
create sequence ops.audit_log_id_seq;
create table ops.audit_log (
    id bigint not null default nextval('ops.audit_log_id_seq'),
    user_id uuid,
    project_id uuid,
    action text not null,
    object_type text not null,
    object_id text,
    outcome text not null check (outcome in ('allowed', 'refused')),
    detail jsonb not null default '{}',
    address text,
    created_at timestamptz not null default clock_timestamp(),
    primary key (id, created_at)
) partition by range (created_at);
create index audit_log_project_id on ops.audit_log (project_id, created_at desc);
create index audit_log_user_id on ops.audit_log (user_id);

create table ops.run_logs_default partition of ops.run_logs default;
create table ops.run_events_default partition of ops.run_events default;
create table ops.audit_log_default partition of ops.audit_log default;

-- Where each run's log stands. Apart from ops.runs, so that a busy log does not rewrite the queue.
create table ops.run_log_heads (
    run_id uuid primary key references ops.runs (id) on delete cascade,
    project_id uuid not null references ops.projects (id) on delete cascade,
    last_seq bigint not null default 0,
    bytes bigint not null default 0,
    -- A build may print this much; null once its environment runs.
    byte_limit bigint default 1073741824
);
create index run_log_heads_project_id on ops.run_log_heads (project_id);

-- What is being collected: the container, how far it was read, and who reads it.
create table ops.log_sources (
    id uuid primary key default ops.uuid_v7(),
    run_id uuid not null references ops.runs (id) on delete cascade,
    container_id text not null,
    stream text not null,
    collector text not null,
    lease bigint not null,
    position jsonb not null default '{}',
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    constraint log_sources_container_key unique (container_id, stream)
);
create index log_sources_run_id on ops.log_sources (run_id);

create table ops.run_artifacts (
    id uuid primary key default ops.uuid_v7(),
    run_id uuid not null references ops.runs (id) on delete cascade,
    artifact_key text not null,
    s3_url text not null,
    checksum text not null,
    content_type text not null,
    size_bytes bigint not null check (size_bytes >= 0),
    expires_at timestamptz,
    created_at timestamptz not null default now(),
    constraint run_artifacts_key unique (run_id, artifact_key)
);

create function ops.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = '0A000';
end
$$;

create trigger run_events_append_only before update or delete on ops.run_events
    for each row execute function ops.refuse_change();
create trigger run_logs_append_only before update or delete on ops.run_logs
    for each row execute function ops.refuse_change();
create trigger audit_log_append_only before update or delete on ops.audit_log
    for each row execute function ops.refuse_change();

-- Makes the partitions of the coming days. A day whose rows already lie in the default partition stays there.
create function ops.ensure_partitions(p_days_ahead integer default 7) returns integer
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    parent text;
    day date;
    partition_name text;
    made integer := 0;
begin
    -- Two callers at once would both try to create the same table.
    perform pg_advisory_xact_lock(hashtext('ops.ensure_partitions'));
    foreach parent in array array['run_logs', 'run_events', 'audit_log'] loop
        for day in select generate_series(current_date, current_date + p_days_ahead, '1 day')::date loop
            partition_name := parent || '_' || to_char(day, 'YYYYMMDD');
            if to_regclass('ops.' || partition_name) is null then
                begin
                    execute format(
                        'create table ops.%I partition of ops.%I for values from (%L) to (%L)',
                        partition_name, parent, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC'
                    );
                    execute format('alter table ops.%I enable row level security', partition_name);
                    execute format('alter table ops.%I force row level security', partition_name);
                    made := made + 1;
                exception
                    when check_violation then null;
                end;
            end if;
        end loop;
    end loop;
    return made;
end
$$;
grant execute on function ops.ensure_partitions(integer) to ops_worker, ops_admin;

reset role;
