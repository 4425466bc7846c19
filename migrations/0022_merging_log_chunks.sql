set role ops_owner;

-- Writes the lines of some chunks in a row as few chunks.
create function ops.rewrite_log_chunks(p_run_id uuid, p_first_seq bigint, p_last_seq bigint) returns void
language plpgsql
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_first ops.run_log_chunks;
    v_lines record;
begin
    select * into v_first from ops.run_log_chunks where run_id = p_run_id and first_seq = p_first_seq;
    -- One alone stays as it is.
    if v_first.last_seq is not distinct from p_last_seq then
        return;
    end if;
    select array_agg(l.log_level order by l.seq) as levels, array_agg(l.message order by l.seq) as messages,
           array_agg(l.metadata @> '{"continued": true}' order by l.seq) as continued,
           array_agg(l.created_at order by l.seq) as times,
           array_agg(nullif(l.metadata, '{"continued": true}') order by l.seq) as metadata,
           count(*) as count
    into v_lines
    from ops.run_log_page(p_run_id, p_first_seq - 1, p_last_seq - p_first_seq + 1) l;
    if v_lines.count <> p_last_seq - p_first_seq + 1 then
        raise exception 'lines % to % of run % are not there', p_first_seq, p_last_seq, p_run_id using errcode = 'XX001';
    end if;
    delete from ops.run_log_chunks where run_id = p_run_id and first_seq between p_first_seq and p_last_seq;
    perform ops.store_log_lines(
        p_run_id, v_first.project_id, v_first.run_number, p_first_seq, v_first.stream, v_lines.levels, v_lines.messages,
        v_lines.continued, v_lines.times, v_lines.metadata, v_first.created_at
    );
end
$$;

-- Merges small chunks in a row of runs that have ended (their servers may print on). Each chunk is looked at once, so
-- what it costs does not grow with the log. Returns how many were looked at: at 0 nothing is left to do.
create function ops.merge_log_chunks(p_chunks integer default 1000) returns integer
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_head record;
    v_chunk record;
    -- The chunks that are to become one.
    v_part_first bigint;
    v_part_last bigint;
    v_part_stream text;
    v_part_day date;
    v_part_bytes bigint;
    v_seen integer := 0;
    v_last bigint;
    v_runs uuid[] := '{}';
    v_merged bigint[] := '{}';
begin
    for v_head in
        select h.run_id, h.merged_seq, h.last_seq
        from ops.run_log_heads h join ops.runs r on r.id = h.run_id
        where h.last_seq > h.merged_seq and r.status not in ('queued', 'claimed', 'running')
        order by h.last_seq - h.merged_seq desc
        limit 1000
    loop
        exit when v_seen >= p_chunks;
        -- Another call has it.
        continue when not pg_try_advisory_xact_lock(hashtext('ops.merge_log_chunks'), hashtext(v_head.run_id::text));
        v_last := v_head.last_seq;
        v_part_first := null;
        for v_chunk in
            select first_seq, last_seq, stream, (created_at at time zone 'UTC')::date as day, bytes
            from ops.run_log_chunks
            where run_id = v_head.run_id and first_seq > v_head.merged_seq and last_seq <= v_head.last_seq
            order by first_seq limit p_chunks - v_seen
        loop
            v_seen := v_seen + 1;
            v_last := v_chunk.last_seq;
            if v_part_first is not null and v_part_stream = v_chunk.stream and v_part_day = v_chunk.day
                and v_part_last + 1 = v_chunk.first_seq and v_part_bytes + v_chunk.bytes <= 131072
                and v_chunk.last_seq - v_part_first < 2000
            then
                v_part_last := v_chunk.last_seq;
                v_part_bytes := v_part_bytes + v_chunk.bytes;
                continue;
            end if;
            perform ops.rewrite_log_chunks(v_head.run_id, v_part_first, v_part_last);
            v_part_first := v_chunk.first_seq;
            v_part_last := v_chunk.last_seq;
            v_part_stream := v_chunk.stream;
            v_part_day := v_chunk.day;
            v_part_bytes := v_chunk.bytes;
        end loop;
        perform ops.rewrite_log_chunks(v_head.run_id, v_part_first, v_part_last);
        v_runs := v_runs || v_head.run_id;
        v_merged := v_merged || v_last;
    end loop;
    -- Last, so that those who append wait no longer than for this.
    update ops.run_log_heads h set merged_seq = done.seq
    from unnest(v_runs, v_merged) done (run_id, seq) where h.run_id = done.run_id;
    return v_seen;
end
$$;
comment on function ops.merge_log_chunks(integer) is
    'Merges small log chunks of ended runs, at most so many in one call. Error 42501 for who is neither worker nor '
    'administrator.';

grant execute on function ops.merge_log_chunks(integer) to ops_worker, ops_admin;
grant execute on function ops.rewrite_log_chunks(uuid, bigint, bigint) to ops_retention;

-- A function gets an owner who may create in its schema.
grant create on schema ops to ops_retention;
reset role;
alter function ops.merge_log_chunks(integer) owner to ops_retention;
revoke create on schema ops from ops_retention;
