-- Whose members clean up what was recorded; the only role that may change log chunks, by ops.merge_log_chunks.
do $$
begin
    begin
        create role ops_retention nologin;
    exception
        when duplicate_object or unique_violation then null;
    end;
    execute format('grant ops_retention to %I', current_user);
end
$$;

set role ops_owner;

alter table ops.run_logs rename to run_log_lines;
alter table ops.run_log_lines rename constraint run_logs_pkey to run_log_lines_pkey;

alter table ops.run_log_heads
    -- The run among all runs with a log: the upper part of its lines' ids.
    add column number bigint not null default nextval('ops.run_logs_id_seq'),
    -- Chunks up to this sequence were looked at by ops.merge_log_chunks.
    add column merged_seq bigint not null default 0;
-- Each batch of lines rewrites its run's row: there is room for that within the page.
alter table ops.run_log_heads set (fillfactor = 50);

-- Append-only: some lines of a run. What is alike in all of them is kept once, and their text in one piece, which
-- PostgreSQL compresses: one row a line takes twice the room of its text, this a fifth.
create table ops.run_log_chunks (
    run_id uuid not null,
    project_id uuid not null,
    run_number bigint not null,
    first_seq bigint not null,
    last_seq bigint not null,
    stream text not null,
    -- Time of the first line.
    first_at timestamptz not null,
    -- When it was stored; decides the partition.
    created_at timestamptz not null default clock_timestamp(),
    -- Of the lines' text.
    bytes bigint not null,
    -- What ends each line in the body: a text that is in none of them.
    line_end text not null default E'\n',
    -- A letter a line: d, i, w, e for its level, upper case when the line continues in the next one. One letter
    -- alone stands for all lines.
    marks text not null,
    -- Each line's time: microseconds after first_at. Null: all have that time.
    offsets integer[],
    -- Of the lines that have some: by their number in the chunk, from 1.
    metadata jsonb,
    body text not null,
    primary key (run_id, first_seq, last_seq, created_at),
    constraint run_log_chunks_lines check (last_seq - first_seq between 0 and 2047),
    constraint run_log_chunks_first check (first_seq > 0)
) partition by range (created_at);
comment on table ops.run_log_chunks is 'Lines of runs'' logs, some in a row; ops.run_logs shows them line by line.';

-- LZ4 compresses better and ten times faster than PostgreSQL''s own, but not every PostgreSQL was built with it.
do $$
begin
    alter table ops.run_log_chunks alter column body set compression lz4, alter column offsets set compression lz4;
exception
    when feature_not_supported or invalid_parameter_value then null;
end
$$;

create table ops.run_log_chunks_default partition of ops.run_log_chunks default;

-- Read below row level security: whoever may not see a run sees none of its lines.
create view ops.run_logs with (security_invoker = true) as
select c.run_number * 68719476736 + c.first_seq + line.n - 1 as id,
       c.run_id,
       c.project_id,
       c.first_seq + line.n - 1 as seq,
       c.stream,
       case coalesce(line.mark, c.marks)
           when 'i' then 'info' when 'w' then 'warn' when 'e' then 'error' when 'd' then 'debug'
           when 'I' then 'info' when 'W' then 'warn' when 'E' then 'error' when 'D' then 'debug'
       end as log_level,
       line.message,
       coalesce(
           c.metadata -> line.n::text,
           case when coalesce(line.mark, c.marks) in ('I', 'W', 'E', 'D') then '{"continued": true}'::jsonb else '{}'::jsonb end
       ) as metadata,
       c.first_at + coalesce(line.at, 0) * interval '1 microsecond' as created_at
from ops.run_log_chunks c
cross join lateral rows from (
    string_to_table(c.body, c.line_end), string_to_table(c.marks, null), unnest(c.offsets)
) with ordinality as line (message, mark, at, n)
-- Behind the last line's end there is none.
where line.n <= c.last_seq - c.first_seq + 1;
comment on view ops.run_logs is
    'Lines of runs'' logs. Of a whole log, or of one run by run_id; a page of a long one is read with ops.run_log_page.';

-- Lines after a sequence, in order: at most so many, and as many as fit in so many bytes, but at least one.
-- Only the chunks that hold them are read.
create function ops.run_log_page(p_run_id uuid, p_after bigint, p_limit bigint, p_bytes bigint default 9223372036854775807)
returns table (seq bigint, stream text, log_level text, message text, metadata jsonb, created_at timestamptz)
language sql stable
as $$
    select sized.seq, sized.stream, sized.log_level, sized.message, sized.metadata, sized.created_at
    from (
        select c.first_seq + line.n - 1 as seq,
               c.stream,
               case coalesce(line.mark, c.marks)
                   when 'i' then 'info' when 'w' then 'warn' when 'e' then 'error' when 'd' then 'debug'
                   when 'I' then 'info' when 'W' then 'warn' when 'E' then 'error' when 'D' then 'debug'
               end as log_level,
               line.message,
               coalesce(
                   c.metadata -> line.n::text,
                   case when coalesce(line.mark, c.marks) in ('I', 'W', 'E', 'D') then '{"continued": true}'::jsonb else '{}'::jsonb end
               ) as metadata,
               c.first_at + coalesce(line.at, 0) * interval '1 microsecond' as created_at,
               row_number() over page as number,
               sum(octet_length(line.message)) over page as total
        from (
            select chunk.*,
                   sum(chunk.bytes) over whole - chunk.bytes - first_value(chunk.bytes) over whole as bytes_between
            from ops.run_log_chunks chunk
            where chunk.run_id = p_run_id
              -- A chunk has at most 2048 lines.
              and chunk.first_seq > p_after - 2048 and chunk.last_seq > p_after
              -- What retention has dropped is no end of the log.
              and chunk.first_seq <= p_limit + greatest(p_after, (
                  select first.first_seq - 1 from ops.run_log_chunks first
                  where first.run_id = p_run_id and first.first_seq > p_after - 2048 and first.last_seq > p_after
                  order by first.first_seq limit 1))
            window whole as (order by chunk.first_seq rows unbounded preceding)
        ) c
        cross join lateral rows from (
            string_to_table(c.body, c.line_end), string_to_table(c.marks, null), unnest(c.offsets)
        ) with ordinality as line (message, mark, at, n)
        where c.bytes_between <= p_bytes
          and line.n <= c.last_seq - c.first_seq + 1
          and c.first_seq + line.n - 1 > p_after
        window page as (order by c.first_seq, line.n rows unbounded preceding)
    ) sized
    where sized.number <= p_limit and (sized.total <= p_bytes or sized.number = 1)
    order by sized.seq
$$;
comment on function ops.run_log_page(uuid, bigint, bigint, bigint) is
    'Lines of a run''s log after a sequence; none for who may not see the run.';

-- A text that is in none of the lines: LF for almost all.
create function ops.free_line_end(p_lines text[]) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_all text := array_to_string(p_lines, '');
    v_end text := E'\n';
    v_tried integer := 0;
begin
    while strpos(v_all, v_end) > 0 loop
        v_tried := v_tried + 1;
        v_end := chr(30) || v_tried || chr(31);
    end loop;
    return v_end;
end
$$;

-- Writes lines with sequences in a row as chunks: each of at most 2047 lines, little more than 128 kB of text, and
-- half an hour. Arrays but levels and messages may be null.
create function ops.store_log_lines(
    p_run_id uuid, p_project_id uuid, p_run_number bigint, p_first_seq bigint, p_stream text, p_levels text[],
    p_messages text[], p_continued boolean[], p_times timestamptz[], p_metadata jsonb[], p_stored_at timestamptz
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_chunks bigint;
begin
    if exists (
        select from unnest(p_levels) level where level is null or level not in ('debug', 'info', 'warn', 'error')
    ) then
        raise exception 'a log level is debug, info, warn or error' using errcode = '22023';
    end if;
    insert into ops.run_log_chunks (
        run_id, project_id, run_number, first_seq, last_seq, stream, first_at, created_at, bytes, line_end, marks,
        offsets, metadata, body
    )
    select p_run_id, p_project_id, p_run_number, p_first_seq + chunk.first_n - 1, p_first_seq + chunk.last_n - 1,
           p_stream, chunk.first_at, p_stored_at, chunk.bytes, chunk.line_end,
           case when rtrim(chunk.marks, left(chunk.marks, 1)) = '' then left(chunk.marks, 1) else chunk.marks end,
           case when chunk.alike then null else chunk.offsets end,
           chunk.metadata,
           array_to_string(chunk.messages, chunk.line_end) || chunk.line_end
    from (
        select parts.*, ops.free_line_end(parts.messages) as line_end
        from (
            select min(n) as first_n, max(n) as last_n, sum(octet_length(message)) as bytes,
                   min(at) as first_at, min(at) = max(at) as alike,
                   array_agg(message order by n) as messages,
                   string_agg(mark, '' order by n) as marks,
                   array_agg((extract(epoch from at - part_at) * 1000000)::integer order by n) as offsets,
                   jsonb_object_agg(n - part_n + 1, metadata) filter (where metadata <> '{}') as metadata
            from (
                select numbered.*, min(at) over (partition by part) as part_at, min(n) over (partition by part) as part_n
                from (
                    select keyed.*, count(*) filter (where key is distinct from before) over (order by n) as part
                    from (
                        select sized.*, lag(key) over (order by n) as before
                        from (
                            select n, message, at,
                                   case when continued then upper(left(level, 1)) else left(level, 1) end as mark,
                                   case when continued and metadata is not null then metadata || '{"continued": true}'
                                        else metadata end as metadata,
                                   array[
                                       (sum(octet_length(message)) over (order by n) - octet_length(message)) / 131072,
                                       n / 2047,
                                       floor(extract(epoch from at) / 1800)
                                   ]::bigint[] as key
                            from (
                                select line.n, line.message, line.level, coalesce(line.continued, false) as continued,
                                       coalesce(line.at, p_stored_at) as at, nullif(line.metadata, '{}') as metadata
                                from unnest(p_levels, p_messages, p_continued, p_times, p_metadata)
                                    with ordinality as line (level, message, continued, at, metadata, n)
                                where line.n <= cardinality(p_messages)
                            ) given
                        ) sized
                    ) keyed
                ) numbered
            ) lines
            group by part
        ) parts
    ) chunk;
    get diagnostics v_chunks = row_count;
    return v_chunks;
end
$$;

-- Moves the run's log head by so many lines; returns the sequence before the first of them.
drop function ops.advance_log_head(uuid, bigint, bigint);
create function ops.advance_log_head(
    p_run_id uuid, p_lines bigint, p_bytes bigint, out p_before bigint, out p_project uuid, out p_number bigint
)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_head ops.run_log_heads;
begin
    update ops.run_log_heads set last_seq = last_seq + p_lines, bytes = bytes + p_bytes
    where run_id = p_run_id returning * into v_head;
    if v_head.run_id is null then
        insert into ops.run_log_heads as h (run_id, project_id, last_seq, bytes)
        select r.id, r.project_id, p_lines, p_bytes from ops.runs r where r.id = p_run_id
        on conflict (run_id) do update set last_seq = h.last_seq + p_lines, bytes = h.bytes + p_bytes
        returning * into v_head;
    end if;
    if v_head.run_id is null then
        raise exception 'unknown run: %', p_run_id using errcode = 'P0002';
    end if;
    if v_head.byte_limit is not null and v_head.bytes > v_head.byte_limit then
        raise exception 'output limit' using errcode = '54000';
    end if;
    p_before := v_head.last_seq - p_lines;
    p_project := v_head.project_id;
    p_number := v_head.number;
end
$$;

-- Rows of before.
do $$
declare
    v_partition text;
    v_day text;
begin
    for v_partition in
        select c.relname from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'ops.run_log_lines'::regclass and c.relname ~ '^run_logs_[0-9]{8}$'
    loop
        v_day := right(v_partition, 8);
        execute format(
            'create table ops.%I partition of ops.run_log_chunks for values from (%L) to (%L)', 'run_log_chunks_' || v_day,
            v_day::timestamp at time zone 'UTC', (v_day::timestamp + interval '1 day') at time zone 'UTC'
        );
        execute format('alter table ops.%I enable row level security', 'run_log_chunks_' || v_day);
        execute format('alter table ops.%I force row level security', 'run_log_chunks_' || v_day);
    end loop;
end
$$;
insert into ops.run_log_heads (run_id, project_id, last_seq, bytes)
select l.run_id, r.project_id, max(l.seq), sum(octet_length(l.message))
from ops.run_log_lines l join ops.runs r on r.id = l.run_id
group by 1, 2
on conflict (run_id) do nothing;
-- Some thousand lines at a time, so that no array of a whole log is ever built.
select count(ops.store_log_lines(
    part.run_id, part.project_id, part.number, part.first_seq, part.stream, part.levels, part.messages, part.continued,
    part.times, part.metadata, part.stored_at
))
from (
    select l.run_id, l.project_id, h.number, min(l.seq) as first_seq, l.stream,
           array_agg(l.log_level order by l.seq) as levels,
           array_agg(l.message order by l.seq) as messages,
           array_agg(l.metadata @> '{"continued": true}' order by l.seq) as continued,
           array_agg(l.created_at order by l.seq) as times,
           array_agg(nullif(l.metadata, '{"continued": true}') order by l.seq) as metadata,
           min(l.created_at) as stored_at
    from (
        select lines.*,
               seq - row_number() over (partition by run_id, stream, day order by seq) as island
        from (
            select *, (created_at at time zone 'UTC')::date as day from ops.run_log_lines
        ) lines
    ) l
    join ops.run_log_heads h on h.run_id = l.run_id
    group by l.run_id, l.project_id, h.number, l.stream, l.day, l.island, l.seq / 2000
) part;
drop table ops.run_log_lines;

create function ops.refuse_change_of_chunks() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_user <> 'ops_retention' or tg_op = 'TRUNCATE' then
        raise exception '% is append-only', tg_table_name using errcode = '0A000';
    end if;
    return case tg_op when 'DELETE' then old else new end;
end
$$;
create trigger run_log_chunks_append_only before update or delete on ops.run_log_chunks
    for each row execute function ops.refuse_change_of_chunks();
create trigger run_log_chunks_no_truncate before truncate on ops.run_log_chunks
    for each statement execute function ops.refuse_change_of_chunks();

alter table ops.run_log_chunks enable row level security;
alter table ops.run_log_chunks force row level security;
alter table ops.run_log_chunks_default enable row level security;
alter table ops.run_log_chunks_default force row level security;
create policy run_log_chunks_owner on ops.run_log_chunks for all to ops_owner using (true) with check (true);
create policy run_log_chunks_default_owner on ops.run_log_chunks_default for all to ops_owner using (true) with check (true);
create policy run_log_chunks_select on ops.run_log_chunks for select to public using (
    (select ops.is_platform_admin()) or project_id = any (array(select ops.visible_projects()))
);
create policy run_log_chunks_insert on ops.run_log_chunks for insert to public with check (false);
create policy run_log_chunks_update on ops.run_log_chunks for update to public using (false);
create policy run_log_chunks_delete on ops.run_log_chunks for delete to public using (false);
create policy run_log_chunks_worker_select on ops.run_log_chunks for select to ops_worker using (true);
grant select on ops.run_log_chunks, ops.run_logs to ops_web, ops_worker, ops_admin;
grant execute on function ops.run_log_page(uuid, bigint, bigint, bigint) to ops_web, ops_worker, ops_admin, ops_retention;

create policy run_log_chunks_retention on ops.run_log_chunks for all to ops_retention using (true) with check (true);
create policy run_log_heads_retention on ops.run_log_heads for all to ops_retention using (true) with check (true);
create policy runs_retention_select on ops.runs for select to ops_retention using (true);
grant usage on schema ops to ops_retention;
grant select, delete on ops.run_log_chunks to ops_retention;
grant select on ops.run_logs, ops.runs, ops.run_log_heads to ops_retention;
grant update (merged_seq) on ops.run_log_heads to ops_retention;
grant execute on function ops.store_log_lines(
    uuid, uuid, bigint, bigint, text, text[], text[], boolean[], timestamptz[], jsonb[], timestamptz
) to ops_retention;

-- A worker's or a person's own lines.
create or replace function ops.append_run_logs(
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
    if array_position(p_messages, null) is not null then
        raise exception 'a message is missing' using errcode = '22023';
    end if;
    select * into v_head from ops.advance_log_head(p_run_id, v_lines, (select coalesce(sum(octet_length(m)), 0) from unnest(p_messages) m));
    perform ops.store_log_lines(
        p_run_id, v_head.p_project, v_head.p_number, v_head.p_before + 1, p_stream, p_levels, p_messages, null, null, null,
        clock_timestamp()
    );
    perform ops.announce('ops_log', p_run_id || ':' || (v_head.p_before + v_lines));
    return v_head.p_before + v_lines;
end
$$;

create or replace function ops.append_run_log(
    p_run_id uuid, p_level text, p_message text, p_metadata jsonb, p_lease bigint
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_head record;
begin
    perform ops.fenced_run(p_run_id, p_lease);
    if p_message is null then
        raise exception 'a message is missing' using errcode = '22023';
    end if;
    select * into v_head from ops.advance_log_head(p_run_id, 1, octet_length(p_message));
    perform ops.store_log_lines(
        p_run_id, v_head.p_project, v_head.p_number, v_head.p_before + 1, coalesce(p_metadata ->> 'stream', 'system'),
        array[p_level], array[p_message], null, null, array[p_metadata], clock_timestamp()
    );
    perform ops.announce('ops_log', p_run_id || ':' || (v_head.p_before + 1));
    return v_head.p_before + 1;
end
$$;

-- A collector's lines by arrays, one element a line.
create or replace function ops.append_log_batch(
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
    perform ops.store_log_lines(
        v_source.run_id, v_head.p_project, v_head.p_number, v_head.p_before + 1, v_source.stream, p_levels, p_messages,
        p_continued, p_times, null, clock_timestamp()
    );
    perform ops.announce('ops_log', v_source.run_id || ':' || (v_head.p_before + v_lines));
    return v_head.p_before + v_lines;
end
$$;

-- A collector's lines as chunks that are ready: each body is its lines, every one ended by LF and without another.
-- Some thousand times cheaper for PostgreSQL than a row, or an array's element, for each line.
create function ops.append_log_chunks(
    p_source_id uuid, p_lease bigint, p_bodies text[], p_marks text[], p_lines integer[], p_first_at timestamptz[],
    p_offsets integer[], p_position jsonb
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_source ops.log_sources;
    v_head record;
    v_lines bigint;
    v_bytes bigint;
    v_first bigint;
    v_from integer := 1;
    v_line_bytes bigint;
begin
    perform ops.require_worker();
    update ops.log_sources set "position" = p_position where id = p_source_id and lease = p_lease returning * into v_source;
    if v_source.id is null then
        raise exception 'lease lost' using errcode = '55000';
    end if;
    select sum(lines), sum(octet_length(body) - lines) into v_lines, v_bytes
    from unnest(p_bodies, p_lines) chunk (body, lines);
    if v_lines is null then
        return null;
    end if;
    select * into v_head from ops.advance_log_head(v_source.run_id, v_lines, v_bytes);
    v_first := v_head.p_before + 1;
    for i in 1 .. cardinality(p_bodies) loop
        v_line_bytes := octet_length(p_bodies[i]) - p_lines[i];
        -- A line more or less would shift the sequence of all that follow.
        if octet_length(replace(p_bodies[i], E'\n', '')) <> v_line_bytes or right(p_bodies[i], 1) <> E'\n'
            or p_marks[i] !~ '^[diweDIWE]+$' or length(p_marks[i]) not in (1, p_lines[i])
        then
            raise exception 'chunk % does not have % lines', i, p_lines[i] using errcode = '22023';
        end if;
        insert into ops.run_log_chunks (
            run_id, project_id, run_number, first_seq, last_seq, stream, first_at, bytes, marks, offsets, body
        ) values (
            v_source.run_id, v_head.p_project, v_head.p_number, v_first, v_first + p_lines[i] - 1, v_source.stream,
            p_first_at[i], v_line_bytes, p_marks[i], p_offsets[v_from : v_from + p_lines[i] - 1], p_bodies[i]
        );
        v_first := v_first + p_lines[i];
        v_from := v_from + p_lines[i];
    end loop;
    perform ops.announce('ops_log', v_source.run_id || ':' || (v_first - 1));
    return v_first - 1;
end
$$;
comment on function ops.append_log_chunks(uuid, bigint, text[], text[], integer[], timestamptz[], integer[], jsonb) is
    'Stores a collector''s lines and moves its position. Errors: 55000 lease lost; 54000 output limit; 22023 a chunk '
    'whose lines are not as many as it says; 42501 for who is no worker.';

grant execute on function ops.append_log_chunks(uuid, bigint, text[], text[], integer[], timestamptz[], integer[], jsonb)
    to ops_worker, ops_admin;

-- As before, for chunks in place of lines.
create or replace function ops.ensure_partitions(p_days_ahead integer default 7) returns integer
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
    -- Whatever is partitioned by time.
    for parent in
        select c.relname from pg_class c
        where c.relnamespace = 'ops'::regnamespace and c.relkind = 'p' and not c.relispartition
        order by c.relname
    loop
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

reset role;
