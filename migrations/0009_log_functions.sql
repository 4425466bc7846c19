set role ops_owner;

-- Moves the run's log head by so many lines; returns the sequence before the first of them.
create function ops.advance_log_head(p_run_id uuid, p_lines bigint, p_bytes bigint, out p_before bigint, out p_project uuid)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_head ops.run_log_heads;
begin
    insert into ops.run_log_heads (run_id, project_id)
    select r.id, r.project_id from ops.runs r where r.id = p_run_id
    on conflict (run_id) do nothing;
    update ops.run_log_heads set last_seq = last_seq + p_lines, bytes = bytes + p_bytes
    where run_id = p_run_id returning * into v_head;
    if v_head.run_id is null then
        raise exception 'unknown run: %', p_run_id using errcode = 'P0002';
    end if;
    if v_head.byte_limit is not null and v_head.bytes > v_head.byte_limit then
        raise exception 'output limit' using errcode = '54000';
    end if;
    p_before := v_head.last_seq - p_lines;
    p_project := v_head.project_id;
end
$$;

create function ops.append_run_logs(
    p_run_id uuid, p_stream text, p_levels text[], p_messages text[], p_lease bigint
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_head record;
    v_lines bigint := cardinality(p_messages);
begin
    perform ops.fenced_run(p_run_id, p_lease);
    if cardinality(p_levels) is distinct from v_lines then
        raise exception 'levels and messages differ in length' using errcode = '22023';
    end if;
    select * into v_head from ops.advance_log_head(p_run_id, v_lines, (select coalesce(sum(octet_length(m)), 0) from unnest(p_messages) m));
    insert into ops.run_logs (run_id, project_id, seq, stream, log_level, message)
    select p_run_id, v_head.p_project, v_head.p_before + line.n, p_stream, line.level, line.message
    from unnest(p_levels, p_messages) with ordinality as line (level, message, n);
    perform pg_notify('ops_log', p_run_id || ':' || (v_head.p_before + v_lines));
    return v_head.p_before + v_lines;
end
$$;

create function ops.append_run_log(
    p_run_id uuid, p_level text, p_message text, p_metadata jsonb, p_lease bigint
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_head record;
begin
    perform ops.fenced_run(p_run_id, p_lease);
    select * into v_head from ops.advance_log_head(p_run_id, 1, octet_length(p_message));
    insert into ops.run_logs (run_id, project_id, seq, stream, log_level, message, metadata)
    values (p_run_id, v_head.p_project, v_head.p_before + 1, coalesce(p_metadata ->> 'stream', 'system'), p_level,
            p_message, coalesce(p_metadata, '{}'));
    perform pg_notify('ops_log', p_run_id || ':' || (v_head.p_before + 1));
    return v_head.p_before + 1;
end
$$;

create function ops.append_run_log(p_run_id uuid, p_level text, p_message text, p_metadata jsonb default '{}')
returns bigint
language sql security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select ops.append_run_log(p_run_id, p_level, p_message, p_metadata, null) $$;

-- Takes the collector's lease of a container's output, from another collector too: whoever asked last reads on
-- from the position that was stored with the last line.
create function ops.open_log_source(p_run_id uuid, p_container_id text, p_stream text, p_collector text)
returns table (source_id uuid, lease bigint, "position" jsonb)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    return query
        insert into ops.log_sources as s (run_id, container_id, stream, collector, lease)
        values (p_run_id, p_container_id, p_stream, p_collector, nextval('ops.lease_seq'))
        on conflict on constraint log_sources_container_key
            do update set collector = excluded.collector, lease = excluded.lease, ended_at = null
        returning s.id, s.lease, s."position";
end
$$;

-- Stores lines and moves the position in one transaction, so that nothing is lost or repeated whoever dies.
create function ops.append_log_batch(
    p_source_id uuid, p_lease bigint, p_levels text[], p_messages text[], p_continued boolean[],
    p_times timestamptz[], p_position jsonb
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_source ops.log_sources;
    v_head record;
    v_lines bigint := coalesce(cardinality(p_messages), 0);
begin
    perform ops.require_worker();
    update ops.log_sources set "position" = p_position where id = p_source_id and lease = p_lease returning * into v_source;
    if v_source.id is null then
        raise exception 'lease lost' using errcode = '55000';
    end if;
    if v_lines = 0 then
        return null;
    end if;
    select * into v_head from ops.advance_log_head(v_source.run_id, v_lines, (select sum(octet_length(m)) from unnest(p_messages) m)::bigint);
    insert into ops.run_logs (run_id, project_id, seq, stream, log_level, message, metadata, created_at)
    select v_source.run_id, v_head.p_project, v_head.p_before + line.n, v_source.stream, line.level, line.message,
           case when line.continued then '{"continued": true}'::jsonb else '{}'::jsonb end,
           -- The container's clock is the host's; what lies outside the partitions of these days is held inside.
           greatest(least(line.at, clock_timestamp()), clock_timestamp() - interval '1 day')
    from unnest(p_levels, p_messages, p_continued, p_times) with ordinality as line (level, message, continued, at, n);
    perform pg_notify('ops_log', v_source.run_id || ':' || (v_head.p_before + v_lines));
    return v_head.p_before + v_lines;
end
$$;

create function ops.close_log_source(p_source_id uuid, p_lease bigint) returns boolean
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    update ops.log_sources set ended_at = clock_timestamp() where id = p_source_id and lease = p_lease;
    return found;
end
$$;

-- A build's output is limited; a running server's is not. Null lifts the limit.
create function ops.set_output_limit(p_run_id uuid, p_bytes bigint) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    insert into ops.run_log_heads (run_id, project_id, byte_limit)
    select r.id, r.project_id, p_bytes from ops.runs r where r.id = p_run_id
    on conflict (run_id) do update set byte_limit = excluded.byte_limit;
end
$$;

grant execute on function
    ops.append_run_logs(uuid, text, text[], text[], bigint),
    ops.append_run_log(uuid, text, text, jsonb), ops.append_run_log(uuid, text, text, jsonb, bigint),
    ops.open_log_source(uuid, text, text, text),
    ops.append_log_batch(uuid, bigint, text[], text[], boolean[], timestamptz[], jsonb),
    ops.close_log_source(uuid, bigint), ops.set_output_limit(uuid, bigint)
to ops_worker, ops_admin;

reset role;
