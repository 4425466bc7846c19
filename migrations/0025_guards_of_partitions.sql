set role ops_owner;

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

create or replace function ops.make_partition(p_parent text, p_day date) returns void
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

-- What a schedule does may be what was wrong with it, too.
create or replace function ops.schedule_changed() returns trigger
language plpgsql
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if not new.enabled then
        new.next_due_at := null;
    end if;
    if (new.cron, new.time_zone, new.enabled, new.params)
        is distinct from (old.cron, old.time_zone, old.enabled, old.params)
    then
        new.error := null;
        if new.next_due_at is not distinct from old.next_due_at
            and (new.cron, new.time_zone, new.enabled) is distinct from (old.cron, old.time_zone, old.enabled)
        then
            new.next_due_at := null;
        end if;
    end if;
    return new;
end
$$;

-- Tokens by which machines join, as well.
drop function ops.remove_expired_credentials();
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
grant execute on function ops.remove_expired_credentials() to ops_retention, ops_worker, ops_admin;

reset role;
