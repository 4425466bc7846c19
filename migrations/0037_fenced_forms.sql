set role ops_owner;

-- Lines by arrays are the batch form of append_run_log, with metadata for all of them; one without a lease too.
create function ops.append_run_log(
    p_run_id uuid, p_levels text[], p_messages text[], p_metadata jsonb, p_lease bigint
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_head record;
    v_lines integer := coalesce(cardinality(p_messages), 0);
    -- The stream has a column of its own; what is said besides stands with each line.
    v_metadata jsonb[] := case
        when p_metadata - 'stream' <> '{}' then array_fill(p_metadata, array[v_lines])
    end;
begin
    perform ops.fenced_run(p_run_id, p_lease);
    if coalesce(cardinality(p_levels), 0) <> v_lines then
        raise exception 'levels and messages differ in length' using errcode = '22023';
    end if;
    if array_position(p_messages, null) is not null then
        raise exception 'a message is missing' using errcode = '22023';
    end if;
    select * into v_head from ops.advance_log_head(
        p_run_id, v_lines, (select coalesce(sum(octet_length(m)), 0) from unnest(p_messages) m)
    );
    if v_lines > 0 then
        perform ops.store_log_lines(
            p_run_id, v_head.p_project, v_head.p_number, v_head.p_before + 1, coalesce(p_metadata ->> 'stream', 'system'),
            p_levels, p_messages, null, null, v_metadata, clock_timestamp()
        );
        perform ops.announce('ops_log', p_run_id || ':' || (v_head.p_before + v_lines));
    end if;
    return v_head.p_before + v_lines;
end
$$;
comment on function ops.append_run_log(uuid, text[], text[], jsonb, bigint) is
    'Appends lines, with the same metadata, and returns the sequence of the last. '
    'Errors: P0002 unknown run; 55000 lease lost; 22023 bad level, no message or lengths that differ; 54000 output limit; '
    '42501 missing right.';

create function ops.append_run_log(p_run_id uuid, p_levels text[], p_messages text[], p_metadata jsonb default '{}')
returns bigint
language sql security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select ops.append_run_log(p_run_id, p_levels, p_messages, p_metadata, null) $$;
comment on function ops.append_run_log(uuid, text[], text[], jsonb) is
    'The same under the run''s first lease, for a person or a simple client. '
    'Errors: P0002 unknown run; 55000 lease lost, lease required or wrong state; 22023 bad level, no message or lengths '
    'that differ; 54000 output limit; 42501 missing right.';

-- Workers of the release before call these two; they go with the next one.
create or replace function ops.append_run_logs(
    p_run_id uuid, p_stream text, p_levels text[], p_messages text[], p_lease bigint
) returns bigint
language sql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select ops.append_run_log(p_run_id, p_levels, p_messages, jsonb_build_object('stream', p_stream), p_lease)
$$;
comment on function ops.append_run_logs(uuid, text, text[], text[], bigint) is
    'ops.append_run_log as the release before calls it. '
    'Errors: P0002 unknown run; 55000 lease lost; 22023 bad level, no message or lengths that differ; 54000 output limit; '
    '42501 missing right.';

create or replace function ops.set_output_limit(p_run_id uuid, p_bytes bigint) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$ begin end $$;
comment on function ops.set_output_limit(uuid, bigint) is
    'As the release before calls it: sets nothing, for it does not say under which lease. '
    'Errors: 42501 missing right.';

-- As every later write of a worker: under the lease.
create function ops.set_output_limit(p_run_id uuid, p_bytes bigint, p_lease bigint) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs := ops.fenced_run(p_run_id, p_lease);
begin
    insert into ops.run_log_heads (run_id, project_id, byte_limit) values (p_run_id, v_run.project_id, p_bytes)
    on conflict (run_id) do update set byte_limit = excluded.byte_limit;
end
$$;
comment on function ops.set_output_limit(uuid, bigint, bigint) is
    'How many bytes the run may print; null lifts the limit. '
    'Errors: P0002 unknown run; 55000 lease lost; 42501 missing right.';

grant execute on function
    ops.append_run_log(uuid, text[], text[], jsonb), ops.append_run_log(uuid, text[], text[], jsonb, bigint),
    ops.set_output_limit(uuid, bigint, bigint)
to ops_worker, ops_admin;

-- Nobody but the queue itself looks at them.
create policy run_priorities_select on ops.run_priorities for select using (false);
create policy run_priorities_insert on ops.run_priorities for insert with check (false);
create policy run_priorities_update on ops.run_priorities for update using (false);
create policy run_priorities_delete on ops.run_priorities for delete using (false);

-- Made once, by the first migration.
create policy installation_insert on ops.installation for insert with check (false);
create policy installation_update on ops.installation for update using (false);
create policy installation_delete on ops.installation for delete using (false);

reset role;
