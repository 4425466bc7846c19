set role ops_owner;

-- A number that only grows, kept here and in the host's data directory. It is advanced before anything is made outside
-- PostgreSQL: here first, then there. When it is smaller here, this database was restored from before something was
-- made, and what it does not know may be somebody's data.
alter table ops.hosts
    add column epoch bigint not null default 0,
    -- The epoch that an administrator confirmed, and when: until then the host only reported.
    add column confirmed_epoch bigint,
    add column confirmed_at timestamptz,
    -- What the host last said about its own copy.
    add column file_epoch bigint,
    add column epoch_standing text not null default 'agrees',
    add constraint hosts_epoch_standing check (epoch_standing in ('agrees', 'behind', 'unknown', 'foreign'));
comment on column ops.hosts.epoch is 'Grows before the host makes anything outside PostgreSQL; its data directory has a copy.';
comment on column ops.hosts.epoch_standing is
    'agrees: the host acts. Else it only reports: behind (this database was restored), unknown (the data directory has '
    'no epoch), foreign (the data directory belongs to another installation).';

-- What each reconciler of each host found when it last looked.
create table ops.reconciler_reports (
    host_id uuid not null references ops.hosts (id) on delete cascade,
    name text not null check (name ~ '^[a-z_]{1,60}$'),
    started_at timestamptz not null,
    finished_at timestamptz not null default clock_timestamp(),
    -- Objects that it compared.
    looked_at integer not null check (looked_at >= 0),
    acted integer not null check (acted >= 0),
    -- What it would have done, had it not only reported.
    would integer not null check (would >= 0),
    mode text not null,
    -- Why it only reports.
    reason text,
    error text,
    -- Array of {object, what, why, done}.
    findings jsonb not null default '[]',
    primary key (host_id, name),
    constraint reconciler_reports_mode check (mode in ('act', 'report'))
);

-- Dry runs asked for, and what the host answered: an array of reports.
create table ops.reconciler_requests (
    id uuid primary key default ops.uuid_v7(),
    host_id uuid not null references ops.hosts (id) on delete cascade,
    requested_by uuid references ops.users (id) on delete set null,
    requested_at timestamptz not null default clock_timestamp(),
    answered_at timestamptz,
    reports jsonb
);
create index reconciler_requests_host_id on ops.reconciler_requests (host_id);
create index reconciler_requests_requested_by on ops.reconciler_requests (requested_by) where requested_by is not null;

-- Data without an owner, moved out of the way.
create table ops.quarantine (
    id uuid primary key default ops.uuid_v7(),
    host_id uuid not null references ops.hosts (id) on delete restrict,
    kind text not null,
    -- What it is called there, and what it was called before.
    name text not null,
    original_name text not null,
    -- Not a reference: mostly this database does not know the environment.
    environment_id uuid,
    production boolean not null,
    reason text not null,
    size_bytes bigint check (size_bytes >= 0),
    quarantined_at timestamptz not null default clock_timestamp(),
    -- Null: only a person deletes it.
    delete_after timestamptz,
    delete_requested_at timestamptz,
    delete_requested_by uuid references ops.users (id) on delete set null,
    restore_requested_at timestamptz,
    restore_requested_by uuid references ops.users (id) on delete set null,
    -- Why the last try to delete it or put it back failed.
    error text,
    deleted_at timestamptz,
    restored_at timestamptz,
    constraint quarantine_kind check (kind in ('database', 'directory', 'volume')),
    constraint quarantine_production check (not production or delete_after is null),
    constraint quarantine_one_end check (deleted_at is null or restored_at is null),
    constraint quarantine_one_request check (delete_requested_at is null or restore_requested_at is null)
);
create unique index quarantine_name on ops.quarantine (host_id, kind, name)
    where deleted_at is null and restored_at is null;
create index quarantine_host_id on ops.quarantine (host_id);
create index quarantine_delete_requested_by on ops.quarantine (delete_requested_by) where delete_requested_by is not null;
create index quarantine_restore_requested_by on ops.quarantine (restore_requested_by) where restore_requested_by is not null;

do $$
declare
    t text;
begin
    foreach t in array array['reconciler_reports', 'reconciler_requests', 'quarantine'] loop
        execute format('alter table ops.%I enable row level security', t);
        execute format('alter table ops.%I force row level security', t);
        execute format('create policy %I on ops.%I for all to ops_owner using (true) with check (true)', t || '_owner', t);
        execute format('create policy %I on ops.%I for select to public using ((select ops.is_platform_admin()))', t || '_select', t);
        execute format('create policy %I on ops.%I for insert to public with check (false)', t || '_insert', t);
        execute format('create policy %I on ops.%I for update to public using (false)', t || '_update', t);
        execute format('create policy %I on ops.%I for delete to public using (false)', t || '_delete', t);
        execute format('create policy %I on ops.%I for select to ops_worker using (true)', t || '_worker_select', t);
        execute format('grant select on ops.%I to ops_web, ops_worker, ops_admin', t);
    end loop;
end
$$;

create function ops.require_platform_admin() returns void
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if not ops.is_platform_admin() then
        raise exception 'only platform administrators may do this' using errcode = '42501';
    end if;
end
$$;

-- Compares the two copies of installation id and epoch, and advances this one where that is asked for and they agree.
create function ops.compare_epoch(
    p_host_id uuid, p_installation uuid, p_file_epoch bigint, p_advance boolean,
    out standing text, out epoch bigint, out confirmed_at timestamptz
)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
#variable_conflict use_column
declare
    v_host ops.hosts;
begin
    perform ops.require_worker();
    select * into v_host from ops.hosts where id = p_host_id for update;
    if v_host.id is null then
        raise exception 'unknown host: %', p_host_id using errcode = 'P0002';
    end if;
    standing := case
        when p_installation is distinct from (select id from ops.installation) then 'foreign'
        when p_file_epoch > v_host.epoch then 'behind'
        when p_file_epoch is null and v_host.epoch > 0 and v_host.confirmed_epoch is distinct from v_host.epoch then 'unknown'
        else 'agrees'
    end;
    epoch := v_host.epoch + case when standing = 'agrees' and p_advance then 1 else 0 end;
    confirmed_at := v_host.confirmed_at;
    if (v_host.epoch, v_host.epoch_standing) is distinct from (epoch, standing)
        or (standing <> 'agrees' and v_host.file_epoch is distinct from p_file_epoch)
    then
        update ops.hosts set epoch = compare_epoch.epoch, epoch_standing = standing, file_epoch = p_file_epoch
        where id = p_host_id;
    end if;
end
$$;
comment on function ops.compare_epoch(uuid, uuid, bigint, boolean) is
    'Compares installation and epoch of the host''s data directory (null: it has none) with those here; advances the '
    'epoch when they agree and that is asked for. Errors: P0002 unknown host; 42501 missing right.';

create function ops.confirm_epoch(p_host_id uuid) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_host ops.hosts;
    v_epoch bigint;
begin
    perform ops.require_platform_admin();
    select * into v_host from ops.hosts where id = p_host_id for update;
    if v_host.id is null then
        raise exception 'unknown host: %', p_host_id using errcode = 'P0002';
    end if;
    if v_host.epoch_standing = 'foreign' then
        raise exception 'the host''s data directory belongs to another installation' using errcode = '55000';
    elsif v_host.epoch_standing = 'agrees' then
        raise exception 'the host does not ask for a confirmation' using errcode = '55000';
    end if;
    v_epoch := greatest(v_host.epoch, coalesce(v_host.file_epoch, 0)) + 1;
    update ops.hosts
    set epoch = v_epoch, confirmed_epoch = v_epoch, confirmed_at = clock_timestamp(), epoch_standing = 'agrees'
    where id = p_host_id;
    perform pg_notify('ops_reconcile', p_host_id::text);
    return v_epoch;
end
$$;
comment on function ops.confirm_epoch(uuid) is
    'An administrator saw what the host would remove and lets it act again. Errors: P0002 unknown host; '
    '42501 missing right; 55000 the host does not ask for it, or its data directory belongs to another installation.';

-- Environments of the time when there was one host, and nobody wrote down which.
create function ops.adopt_environments(p_host_id uuid) returns integer
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_count integer;
begin
    perform ops.require_worker();
    if exists (select from ops.hosts where id <> p_host_id)
        or not exists (select from ops.environments where host_id is null)
    then
        return 0;
    end if;
    update ops.environments set host_id = p_host_id where host_id is null;
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function ops.adopt_environments(uuid) is
    'Environments without a host become those of the only one there is; returns how many. Error: 42501 missing right.';

create function ops.report_reconciler(
    p_host_id uuid, p_name text, p_started_at timestamptz, p_looked_at integer, p_acted integer, p_would integer,
    p_mode text, p_reason text, p_error text, p_findings jsonb
) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    insert into ops.reconciler_reports
        (host_id, name, started_at, looked_at, acted, would, mode, reason, error, findings)
    values (p_host_id, p_name, p_started_at, p_looked_at, p_acted, p_would, p_mode, p_reason, p_error, p_findings)
    on conflict (host_id, name) do update
        set started_at = excluded.started_at, finished_at = clock_timestamp(), looked_at = excluded.looked_at,
            acted = excluded.acted, would = excluded.would, mode = excluded.mode, reason = excluded.reason,
            error = excluded.error, findings = excluded.findings;
end
$$;
comment on function ops.report_reconciler(uuid, text, timestamptz, integer, integer, integer, text, text, text, jsonb) is
    'Replaces the host''s report of that reconciler. Errors: 23503 unknown host; 42501 missing right; 23514 bad report.';

create function ops.request_dry_run(p_host_id uuid default null) returns setof uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_host uuid;
    v_id uuid;
begin
    perform ops.require_platform_admin();
    if p_host_id is not null and not exists (select from ops.hosts where id = p_host_id) then
        raise exception 'unknown host: %', p_host_id using errcode = 'P0002';
    end if;
    delete from ops.reconciler_requests where requested_at < clock_timestamp() - interval '1 day';
    for v_host in
        select id from ops.hosts
        where case when p_host_id is null then revoked_at is null else id = p_host_id end order by id
    loop
        insert into ops.reconciler_requests (host_id, requested_by) values (v_host, ops.current_user_id())
        returning id into v_id;
        perform pg_notify('ops_reconcile', v_host::text);
        return next v_id;
    end loop;
end
$$;
comment on function ops.request_dry_run(uuid) is
    'Asks the host, or all of them, what its reconcilers would do; returns the requests'' ids. Their rows in '
    'ops.reconciler_requests have the answer. Errors: P0002 unknown host; 42501 missing right.';

create function ops.answer_dry_run(p_id uuid, p_reports jsonb) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    update ops.reconciler_requests set reports = p_reports, answered_at = clock_timestamp()
    where id = p_id and answered_at is null;
    if not found then
        raise exception 'unknown request, or answered before: %', p_id using errcode = 'P0002';
    end if;
    perform pg_notify('ops_reconciled', p_id::text);
end
$$;
comment on function ops.answer_dry_run(uuid, jsonb) is
    'What the host would do, as an array of reports. Errors: P0002 unknown request or answered before; 42501 missing right.';

-- Written down before it is moved, so that nothing is out of the way without being listed. Repeating it finds the row.
create function ops.quarantine_object(
    p_host_id uuid, p_kind text, p_name text, p_original_name text, p_environment_id uuid, p_production boolean,
    p_reason text, p_size_bytes bigint, p_keep interval
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_id uuid;
begin
    perform ops.require_worker();
    insert into ops.quarantine
        (host_id, kind, name, original_name, environment_id, production, reason, size_bytes, delete_after)
    values (p_host_id, p_kind, p_name, p_original_name, p_environment_id, p_production, p_reason, p_size_bytes,
            case when not p_production then clock_timestamp() + p_keep end)
    on conflict (host_id, kind, name) where deleted_at is null and restored_at is null
        do update set error = null
    returning id into v_id;
    return v_id;
end
$$;
comment on function ops.quarantine_object(uuid, text, text, text, uuid, boolean, text, bigint, interval) is
    'Lists an object as quarantined; the same one again has the same id. Production''s is kept until a person deletes '
    'it. Errors: 23503 unknown host; 42501 missing right; 23514 bad kind.';

create function ops.end_quarantine(p_id uuid, p_restored boolean) returns ops.quarantine
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_row ops.quarantine;
begin
    perform ops.require_worker();
    update ops.quarantine
    set restored_at = case when p_restored then clock_timestamp() end,
        deleted_at = case when not p_restored then clock_timestamp() end,
        error = null
    where id = p_id and deleted_at is null and restored_at is null
    returning * into v_row;
    if v_row.id is null then
        raise exception 'not in quarantine: %', p_id using errcode = 'P0002';
    end if;
    return v_row;
end
$$;
comment on function ops.end_quarantine(uuid, boolean) is
    'It was put back, or deleted. Errors: P0002 not in quarantine; 42501 missing right.';

create function ops.fail_quarantine(p_id uuid, p_error text) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    update ops.quarantine set error = left(p_error, 2000)
    where id = p_id and error is distinct from left(p_error, 2000);
end
$$;
comment on function ops.fail_quarantine(uuid, text) is
    'Why it could not be deleted or put back. Error: 42501 missing right.';

-- A person asks; the host's worker does it. The last wish counts.
create function ops.request_quarantine_end(p_id uuid, p_restore boolean) returns ops.quarantine
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_row ops.quarantine;
begin
    perform ops.require_platform_admin();
    update ops.quarantine
    set delete_requested_at = case when not p_restore then clock_timestamp() end,
        delete_requested_by = case when not p_restore then ops.current_user_id() end,
        restore_requested_at = case when p_restore then clock_timestamp() end,
        restore_requested_by = case when p_restore then ops.current_user_id() end,
        error = null
    where id = p_id and deleted_at is null and restored_at is null
    returning * into v_row;
    if v_row.id is null then
        raise exception 'not in quarantine: %', p_id using errcode = 'P0002';
    end if;
    perform pg_notify('ops_reconcile', v_row.host_id::text);
    return v_row;
end
$$;
comment on function ops.request_quarantine_end(uuid, boolean) is
    'Has it put back, or deleted, production''s too. Errors: P0002 not in quarantine; 42501 missing right.';

create function ops.end_log_source(p_source_id uuid) returns boolean
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    update ops.log_sources set ended_at = clock_timestamp() where id = p_source_id and ended_at is null;
    return found;
end
$$;
comment on function ops.end_log_source(uuid) is
    'Its container is gone and nobody reads it: nothing more will come. Error: 42501 missing right.';

create function ops.remove_expired_artifact(p_id uuid) returns boolean
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    delete from ops.run_artifacts where id = p_id and expires_at < clock_timestamp();
    return found;
end
$$;
comment on function ops.remove_expired_artifact(uuid) is
    'Forgets an artifact whose time is over, after its bytes are gone; false when it is not. Error: 42501 missing right.';

grant execute on function
    ops.require_platform_admin(), ops.confirm_epoch(uuid), ops.request_dry_run(uuid),
    ops.request_quarantine_end(uuid, boolean)
to ops_web, ops_admin;
grant execute on function
    ops.compare_epoch(uuid, uuid, bigint, boolean), ops.adopt_environments(uuid),
    ops.report_reconciler(uuid, text, timestamptz, integer, integer, integer, text, text, text, jsonb),
    ops.answer_dry_run(uuid, jsonb),
    ops.quarantine_object(uuid, text, text, text, uuid, boolean, text, bigint, interval),
    ops.end_quarantine(uuid, boolean), ops.fail_quarantine(uuid, text), ops.end_log_source(uuid),
    ops.remove_expired_artifact(uuid)
to ops_worker, ops_admin;

reset role;
