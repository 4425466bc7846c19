set role ops_owner;

-- How long rows are kept, by partitioned table. `ops migrate` and `ops up` write what is configured.
create table ops.retention_settings (
    table_name text primary key,
    family text not null,
    days integer not null check (days between 1 and 36500),
    updated_at timestamptz not null default now(),
    constraint retention_settings_family check (family in ('logs', 'metrics', 'events', 'audit'))
);

alter table ops.retention_settings enable row level security;
alter table ops.retention_settings force row level security;
create policy retention_settings_owner on ops.retention_settings for all to ops_owner using (true) with check (true);
create policy retention_settings_worker_select on ops.retention_settings for select to ops_worker using (true);
create policy retention_settings_select on ops.retention_settings for select to public using (
    (select ops.is_platform_admin())
);
create policy retention_settings_insert on ops.retention_settings for insert to public with check (false);
create policy retention_settings_update on ops.retention_settings for update to public using (false);
create policy retention_settings_delete on ops.retention_settings for delete to public using (false);
grant select on ops.retention_settings to ops_web, ops_worker, ops_admin;

-- Partitions ------------------------------------------------------------------------------------------------------

-- All tables of the schema that have a partition a day.
create function ops.partitioned_tables(out parent text, out by_column text, out default_partition text)
returns setof record
language sql stable
set search_path = pg_catalog, ops, pg_temp
as $$
    select c.relname::text, a.attname::text, d.relname::text
    from pg_partitioned_table p
    join pg_class c on c.oid = p.partrelid
    join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
    left join pg_class d on d.oid = p.partdefid
    where c.relnamespace = 'ops'::regnamespace and not c.relispartition
      and p.partstrat = 'r' and p.partnatts = 1 and a.atttypid = 'timestamptz'::regtype
    order by c.relname
$$;

-- Rows of append-only tables are not truncated either. A partition can be named, so each has the trigger.
create function ops.refuse_truncate(p_table text) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    execute format(
        'create or replace trigger no_truncate before truncate on ops.%I
             for each statement execute function ops.refuse_change()', p_table
    );
end
$$;

-- Whether rows of the table are refused to be changed, by whichever of the functions that do.
create function ops.is_append_only(p_table text) returns boolean
language sql stable
set search_path = pg_catalog, ops, pg_temp
as $$
    select exists (
        select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
        where t.tgrelid = format('ops.%I', p_table)::regclass
          and p.pronamespace = 'ops'::regnamespace and p.proname like 'refuse\_change%'
    )
$$;

create function ops.make_partition(p_parent text, p_day date) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_name text := p_parent || '_' || to_char(p_day, 'YYYYMMDD');
begin
    execute format(
        'create table ops.%I partition of ops.%I for values from (%L) to (%L)',
        v_name, p_parent, p_day::timestamp at time zone 'UTC', (p_day + 1)::timestamp at time zone 'UTC'
    );
    execute format('alter table ops.%I enable row level security', v_name);
    execute format('alter table ops.%I force row level security', v_name);
    if ops.is_append_only(p_parent) then
        perform ops.refuse_truncate(v_name);
    end if;
end
$$;

-- The default partition already has rows of that day: they move with it. It is apart from the table for that long,
-- which is locked: few rows lie there, those written before anybody made the day's partition.
create function ops.move_to_partition(p_parent text, p_by_column text, p_default text, p_day date) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    execute format('lock table ops.%I in access exclusive mode', p_parent);
    execute format('alter table ops.%I detach partition ops.%I', p_parent, p_default);
    perform ops.make_partition(p_parent, p_day);
    execute format(
        'with moved as (
             delete from ops.%2$I
             where %3$I >= %4$L::timestamptz and %3$I < %5$L::timestamptz
             returning *
         )
         insert into ops.%1$I select * from moved',
        p_parent, p_default, p_by_column,
        p_day::timestamp at time zone 'UTC', (p_day + 1)::timestamp at time zone 'UTC'
    );
    execute format('alter table ops.%I attach partition ops.%I default', p_parent, p_default);
end
$$;

-- From yesterday on: a container's clock may be a little late.
create or replace function ops.ensure_partitions(p_days_ahead integer default 7) returns integer
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
set lock_timeout = '2s'
as $$
declare
    v_table record;
    v_day date;
    v_today date := (clock_timestamp() at time zone 'UTC')::date;
    v_made integer := 0;
begin
    -- Two callers at once would both try to create the same table.
    perform pg_advisory_xact_lock(hashtext('ops.ensure_partitions'));
    for v_table in select * from ops.partitioned_tables() loop
        for v_day in select generate_series(v_today - 1, v_today + p_days_ahead, '1 day')::date loop
            continue when to_regclass(format('ops.%I', v_table.parent || '_' || to_char(v_day, 'YYYYMMDD'))) is not null;
            begin
                begin
                    perform ops.make_partition(v_table.parent, v_day);
                exception
                    when check_violation then
                        perform ops.move_to_partition(v_table.parent, v_table.by_column, v_table.default_partition, v_day);
                end;
                v_made := v_made + 1;
            exception
                -- Somebody reads the table for long: the next call makes what is missing.
                when lock_not_available then null;
            end;
        end loop;
    end loop;
    return v_made;
end
$$;
comment on function ops.ensure_partitions(integer) is
    'Makes the partitions of the coming days, for every table that has one a day; returns how many it made.';

-- Retention -------------------------------------------------------------------------------------------------------

create function ops.require_retention() returns void
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if session_user in ('ops_web', 'authenticator') or not pg_has_role(session_user, 'ops_retention', 'member') then
        perform ops.require_worker();
    end if;
end
$$;

-- The only way by which recorded rows go: whole days, older than the settings say. It takes no argument, so that
-- whoever may call it decides nothing. No lock is waited for long: what is busy is tried again by the next call.
create function ops.drop_expired_partitions()
returns table (parent text, partition text, outcome text)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
set lock_timeout = '500ms'
set timezone = 'UTC'
set datestyle = 'ISO'
as $$
declare
    v_table record;
    v_before timestamptz;
    v_expired boolean;
begin
    perform ops.require_retention();
    -- Not while partitions are being made.
    perform pg_advisory_xact_lock(hashtext('ops.ensure_partitions'));
    for v_table in
        select t.*, s.days from ops.partitioned_tables() t join ops.retention_settings s on s.table_name = t.parent
    loop
        v_before := date_trunc('day', clock_timestamp()) - make_interval(days => v_table.days);
        parent := v_table.parent;
        for partition in
            select c.relname::text
            from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = format('ops.%I', v_table.parent)::regclass and c.relname <> v_table.default_partition
              and (regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$ TO \('([^']+)'\)$re$))[1]::timestamptz <= v_before
            order by c.relname
        loop
            begin
                execute format('drop table ops.%I', partition);
                outcome := 'dropped';
            exception
                when lock_not_available then outcome := 'busy';
            end;
            return next;
        end loop;
        -- What lies in the default partition came at a time for which there was none. It is refused to delete rows
        -- of the table, so it is taken from it for that long.
        partition := v_table.default_partition;
        continue when partition is null;
        execute format('select exists (select from ops.%I where %I < %L)', partition, v_table.by_column, v_before)
            into v_expired;
        continue when not v_expired;
        begin
            execute format('lock table ops.%I in access exclusive mode', parent);
            execute format('alter table ops.%I detach partition ops.%I', parent, partition);
            execute format('delete from ops.%I where %I < %L', partition, v_table.by_column, v_before);
            execute format('alter table ops.%I attach partition ops.%I default', parent, partition);
            outcome := 'emptied';
        exception
            when lock_not_available then outcome := 'busy';
        end;
        return next;
    end loop;
end
$$;
comment on function ops.drop_expired_partitions() is
    'Drops the days that are older than ops.retention_settings says; one row for each, dropped, emptied or busy. '
    'Error: 42501 missing right.';

-- What let somebody in once and never will again.
create function ops.remove_expired_credentials()
returns table (sessions bigint, login_links bigint, host_tokens bigint)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_retention();
    delete from ops.sessions s where s.expires_at < clock_timestamp();
    get diagnostics sessions = row_count;
    delete from ops.login_links l where l.expires_at < clock_timestamp() - interval '1 day';
    get diagnostics login_links = row_count;
    delete from ops.host_tokens t where t.expires_at < clock_timestamp() - interval '7 days';
    get diagnostics host_tokens = row_count;
    return next;
end
$$;
comment on function ops.remove_expired_credentials() is
    'Removes sessions, sign-in links and tokens of machines that have ended. Error: 42501 missing right.';

-- What schedules did is kept as long as events are.
create function ops.remove_expired_schedule_runs() returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_removed bigint;
begin
    perform ops.require_retention();
    delete from ops.schedule_runs w
    where w.state not in ('waiting', 'running')
      and w.created_at < clock_timestamp() - make_interval(days => coalesce(
          (select s.days from ops.retention_settings s where s.table_name = 'run_events'), 365))
      -- Its last one stays, however old.
      and exists (select from ops.schedule_runs n where n.schedule_id = w.schedule_id and n.due_at > w.due_at);
    get diagnostics v_removed = row_count;
    return v_removed;
end
$$;
comment on function ops.remove_expired_schedule_runs() is
    'Removes the history of schedules that is older than events are kept. Error: 42501 missing right.';

grant execute on function
    ops.drop_expired_partitions(), ops.remove_expired_credentials(), ops.remove_expired_schedule_runs(),
    ops.ensure_partitions(integer)
to ops_retention, ops_worker, ops_admin;

-- For the tables that are here by now.
do $$
declare
    v_table record;
    v_partition text;
begin
    for v_table in select * from ops.partitioned_tables() loop
        insert into ops.retention_settings (table_name, family, days)
        select v_table.parent, family, days
        from (values ('run_log%', 'logs', 30), ('metric%', 'metrics', 90), ('run_events', 'events', 365),
                     ('audit_log', 'audit', 365)) known (pattern, family, days)
        where v_table.parent like known.pattern;
        -- Rows in it are moved and expire under the functions' owner.
        if v_table.default_partition is not null and not exists (
            select from pg_policy where polrelid = format('ops.%I', v_table.default_partition)::regclass
        ) then
            execute format('create policy %I on ops.%I for all to ops_owner using (true) with check (true)',
                           v_table.default_partition || '_owner', v_table.default_partition);
        end if;
        if exists (
            select from pg_trigger where tgrelid = format('ops.%I', v_table.parent)::regclass
              and tgfoid = 'ops.refuse_change()'::regprocedure
        ) then
            perform ops.refuse_truncate(v_table.parent);
            for v_partition in
                select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = format('ops.%I', v_table.parent)::regclass
            loop
                perform ops.refuse_truncate(v_partition);
            end loop;
        end if;
    end loop;
end
$$;

-- A trigger of a whole statement is not copied to partitions, as those of rows are.
do $$
declare
    v_partition text;
begin
    for v_partition in
        select c.relname
        from ops.partitioned_tables() t
        join pg_inherits i on i.inhparent = format('ops.%I', t.parent)::regclass
        join pg_class c on c.oid = i.inhrelid
        where ops.is_append_only(t.parent)
    loop
        perform ops.refuse_truncate(v_partition);
    end loop;
end
$$;

insert into ops.schedules (name, cron, kind, params, built_in)
values ('retention', '40 3 * * *', 'maintenance', '{"task": "retention"}', true);

reset role;
