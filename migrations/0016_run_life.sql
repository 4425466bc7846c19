set role ops_owner;

-- A status change rewrites every index that is not partial: what few runs have, few runs are indexed by.
drop index ops.runs_environment_id, ops.runs_workflow_id, ops.runs_superseded_by, ops.runs_requested_by, ops.runs_branch_id;
create index runs_environment_id on ops.runs (environment_id) where environment_id is not null;
create index runs_workflow_id on ops.runs (workflow_id) where workflow_id is not null;
create index runs_superseded_by on ops.runs (superseded_by) where superseded_by is not null;
create index runs_requested_by on ops.runs (requested_by) where requested_by is not null;
create index runs_branch_id on ops.runs (branch_id, queued_at desc) where branch_id is not null;
alter table ops.runs drop constraint runs_idempotency_key;
create unique index runs_idempotency_key on ops.runs (project_id, idempotency_key) where idempotency_key is not null;
-- What is under way is little, and renewing a lease moves no index entry. By leases, which only grow: see
-- ops.lease_floor.
drop index ops.runs_leased;
create index runs_active on ops.runs (lease, worker_id) where status in ('claimed', 'running');
-- The first of a serial key, before those behind it.
create index runs_queued_serial on ops.runs (serial_key, priority desc, queued_at, id)
    where status = 'queued' and serial_key is not null;
alter table ops.runs set (fillfactor = 70);

alter table ops.run_events drop constraint run_events_pkey;
drop index ops.run_events_run_id, ops.run_events_project_id;
alter table ops.run_events add primary key (run_id, id, created_at);

create or replace function ops.queue_run(
    p_project text,
    p_kind text,
    p_git_ref text,
    p_commit_sha text,
    p_params jsonb default '{}',
    p_idempotency_key text default null
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_project uuid;
    v_role text;
    v_id uuid;
begin
    select id into v_project from ops.projects where slug = p_project;
    if v_project is null and p_project ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        select id into v_project from ops.projects where id = p_project::uuid;
    end if;
    v_role := ops.project_role(v_project);
    if v_project is null or v_role is null then
        raise exception 'unknown project: %', left(p_project, 80) using errcode = 'P0002';
    end if;
    -- What ops.can_push says, of a role that is known.
    if v_role = 'viewer'
        or (v_role not in ('owner', 'admin')
            and coalesce(p_params ->> 'stage', 'development') not in ('development', 'staging'))
    then
        raise exception 'your role in this project may not queue runs' using errcode = '42501';
    end if;
    if p_kind = 'maintenance' then
        raise exception 'maintenance is the platform''s own, see ops.schedules' using errcode = '22023';
    end if;
    insert into ops.runs (project_id, kind, git_ref, commit_sha, params, idempotency_key, requested_by)
    values (v_project, p_kind, p_git_ref, p_commit_sha, coalesce(p_params, '{}'), p_idempotency_key, ops.current_user_id())
    on conflict (project_id, idempotency_key) where idempotency_key is not null do nothing
    returning id into v_id;
    if v_id is null then
        select id into v_id from ops.runs where project_id = v_project and idempotency_key = p_idempotency_key;
    end if;
    return v_id;
end
$$;

-- PostgreSQL lets one transaction with a notification commit at a time, all the others wait. What only consoles hear
-- is therefore said only while one listens: each says so for the coming minute. Before any console did, it is said
-- always, so that who listens with psql alone hears everything. A sequence, because it is seen at once and leaves no
-- dead rows.
create sequence ops.console_listens_until minvalue 0 start 9223372036854775807;
select setval('ops.console_listens_until', 9223372036854775807);

create function ops.console_listens() returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_console();
    perform setval('ops.console_listens_until', extract(epoch from clock_timestamp())::bigint + 60);
end
$$;
comment on function ops.console_listens() is
    'For the coming minute, changes are announced on ops_board, ops_run_changed and ops_log. Error: 42501 missing right.';
grant execute on function ops.console_listens() to ops_web, ops_admin;

-- A worker that has work asks for more when it is done. So queued runs are announced only while one waits, which says
-- so for the coming five seconds; before any did, always.
create sequence ops.worker_waits_until minvalue 0 start 9223372036854775807;
select setval('ops.worker_waits_until', 9223372036854775807);

create function ops.worker_waits(p_worker_id text) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    -- Who may take nothing waits for nothing that is queued.
    if ops.worker_hindrance(p_worker_id) is not null then
        return;
    end if;
    perform setval('ops.worker_waits_until', extract(epoch from clock_timestamp())::bigint + 5);
end
$$;
comment on function ops.worker_waits(text) is
    'For the coming five seconds, runs that are queued are announced on ops_run. Who listens there says so every few '
    'seconds, each time before looking for a run. Error: 42501 missing right.';
grant execute on function ops.worker_waits(text) to ops_worker, ops_admin;

-- As who calls it: a change of role and of search_path costs more than what it does. A sequence is read by the function
-- and not as a table, which would be a query of its own.
create function ops.announce(p_channel text, p_payload text) returns void
language plpgsql
as $$
begin
    if pg_sequence_last_value('ops.console_listens_until') > extract(epoch from clock_timestamp()) then
        perform pg_notify(p_channel, p_payload);
    end if;
end
$$;
comment on function ops.announce(text, text) is 'Tells consoles, if there are any.';

-- Row by row: within a transaction PostgreSQL sends equal notifications once.
drop trigger runs_inserted on ops.runs;
drop trigger runs_updated on ops.runs;
drop function ops.notify_runs();
drop function ops.notify_updated_runs();
create function ops.notify_run() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if new.status = 'queued' and (tg_op = 'INSERT' or old.status <> 'queued' or old.priority <> new.priority) then
        if pg_sequence_last_value('ops.worker_waits_until') > extract(epoch from clock_timestamp()) then
            perform pg_notify('ops_run', new.project_id::text);
        end if;
        -- Back in the queue with its age, or a clock that was set back.
        if extract(epoch from new.queued_at) * 1000000 < pg_sequence_last_value('ops.queue_floor') then
            perform setval('ops.queue_floor', greatest((extract(epoch from new.queued_at) * 1000000)::bigint, 0));
        end if;
        if new.priority <> 0 then
            insert into ops.run_priorities (priority) values (new.priority) on conflict do nothing;
        end if;
    end if;
    if tg_op = 'UPDATE' and new.worker_id is not null
        and old.cancel_requested_at is null and new.cancel_requested_at is not null
    then
        perform pg_notify('ops_cancel', new.id::text);
    end if;
    if pg_sequence_last_value('ops.console_listens_until') <= extract(epoch from clock_timestamp()) then
        return null;
    end if;
    -- What people do not see is not announced.
    if tg_op = 'UPDATE'
        and (old.status, old.step, old.environment_id, old.cancel_requested_at, old.superseded_by, old.error_message,
             old.priority)
        is not distinct from
        (new.status, new.step, new.environment_id, new.cancel_requested_at, new.superseded_by, new.error_message,
         new.priority)
    then
        return null;
    end if;
    perform pg_notify('ops_board', new.project_id::text);
    perform pg_notify('ops_run_changed', new.id::text);
    return null;
end
$$;
create trigger runs_inserted after insert on ops.runs for each row execute function ops.notify_run();
-- Heartbeats, which only renew leases, do not come by here. By columns: a condition would be read anew by every update.
create trigger runs_updated after update
    of status, step, environment_id, cancel_requested_at, superseded_by, error_message, priority
    on ops.runs for each row execute function ops.notify_run();

create or replace function ops.append_event(p_run_id uuid, p_type text, p_payload jsonb, p_lease bigint) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_id bigint;
begin
    if not ops.is_worker() then
        perform ops.require_worker();
    end if;
    -- What the holder of the lease says is one statement, fenced in its condition.
    if p_lease is null or starts_with(session_user, 'ops_host_') then
        perform ops.fenced_run(p_run_id, p_lease);
    end if;
    insert into ops.run_events (run_id, project_id, type, payload)
    select r.id, r.project_id, p_type, coalesce(p_payload, '{}') from ops.runs r
    where r.id = p_run_id and (r.lease = p_lease or p_lease is null)
    for no key update
    returning id into v_id;
    if v_id is null then
        perform ops.fenced_run(p_run_id, p_lease);
    end if;
    if p_type = 'step_started' then
        update ops.runs set step = p_payload ->> 'step' where id = p_run_id;
    end if;
    perform ops.announce('ops_run_changed', p_run_id::text);
    return v_id;
end
$$;

-- A worker says that it is there. Its host is made when it is new.
create function ops.register_worker(
    p_worker_id text, p_host_name text, p_version text, p_capacity integer, p_kinds text[]
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_host ops.hosts;
begin
    perform ops.require_worker();
    insert into ops.hosts (name) values (p_host_name) on conflict on constraint hosts_name_key do nothing;
    select * into v_host from ops.hosts where name = p_host_name;
    if v_host.revoked_at is not null then
        raise exception 'the host % was revoked', p_host_name using errcode = '42501';
    end if;
    insert into ops.workers as w (id, host_id, version, capacity, kinds)
    values (p_worker_id, v_host.id, p_version, p_capacity, p_kinds)
    on conflict (id) do update
        set host_id = excluded.host_id, version = excluded.version, capacity = excluded.capacity,
            kinds = excluded.kinds, started_at = clock_timestamp(), last_heartbeat_at = clock_timestamp();
    insert into ops.worker_heartbeats as b (worker_id) values (p_worker_id)
    on conflict (worker_id) do update set at = clock_timestamp(), running = 0, stopping_since = null;
    return v_host.id;
end
$$;
comment on function ops.register_worker(text, text, text, integer, text[]) is
    'A worker starts on the host of that name; returns the host''s id. '
    'Errors: 42501 missing right, or the host was revoked; 23514 bad capacity.';

create function ops.drain_worker(p_worker_id text, p_drain boolean) returns ops.workers
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_worker ops.workers;
begin
    perform ops.require_worker();
    update ops.workers
    set draining_since = case when p_drain then coalesce(draining_since, clock_timestamp()) end
    where id = p_worker_id returning * into v_worker;
    if v_worker.id is null then
        raise exception 'unknown worker: %', left(p_worker_id, 80) using errcode = 'P0002';
    end if;
    -- Who drains no more can claim again at once.
    perform pg_notify('ops_run', '');
    return v_worker;
end
$$;
comment on function ops.drain_worker(text, boolean) is
    'The worker claims nothing more, or claims again. Errors: P0002 unknown worker; 42501 missing right.';

-- Renews leases and tells which runs are to be canceled. A run that is not returned is lost.
drop function ops.heartbeat(text, uuid[], bigint[]);
create function ops.heartbeat(p_worker_id text, p_run_ids uuid[], p_leases bigint[], p_host jsonb default null)
returns table (run_id uuid, cancel_requested boolean)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    update ops.worker_heartbeats b
    set at = clock_timestamp(), running = coalesce(cardinality(p_run_ids), 0),
        stopping_since = case when (p_host ->> 'stopping')::boolean then coalesce(b.stopping_since, clock_timestamp()) end,
        cpus = coalesce((p_host ->> 'cpus')::integer, b.cpus),
        memory_total_bytes = coalesce((p_host ->> 'memory_total_bytes')::bigint, b.memory_total_bytes),
        memory_free_bytes = coalesce((p_host ->> 'memory_free_bytes')::bigint, b.memory_free_bytes),
        disk_total_bytes = coalesce((p_host ->> 'disk_total_bytes')::bigint, b.disk_total_bytes),
        disk_free_bytes = coalesce((p_host ->> 'disk_free_bytes')::bigint, b.disk_free_bytes)
    where b.worker_id = p_worker_id;
    update ops.workers set last_heartbeat_at = clock_timestamp()
    where id = p_worker_id and last_heartbeat_at < clock_timestamp() - interval '10 seconds';
    -- A lease lasts thirty seconds. It is renewed when a third of it is gone: most heartbeats write no run.
    update ops.runs r set lease_expires_at = clock_timestamp() + interval '30 seconds'
    from unnest(p_run_ids, p_leases) as held (id, lease)
    where r.id = held.id and r.lease = held.lease and r.status in ('claimed', 'running')
      and r.lease_expires_at < clock_timestamp() + interval '20 seconds';
    return query
        select r.id, r.cancel_requested_at is not null
        from unnest(p_run_ids, p_leases) as held (id, lease)
        join ops.runs r on r.id = held.id and r.lease = held.lease and r.status in ('claimed', 'running');
end
$$;
comment on function ops.heartbeat(text, uuid[], bigint[], jsonb) is
    'The worker lives and holds these runs; returns those that are still its own. Error: 42501 missing right.';

-- Locks the run for the rest of the transaction, so that what is written beside it is written under the lease.
create function ops.hold_run(p_run_id uuid, p_lease bigint) returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs := ops.fenced_run(p_run_id, p_lease);
begin
    if v_run.status not in ('claimed', 'running') then
        raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
    end if;
    return v_run;
end
$$;
comment on function ops.hold_run(uuid, bigint) is
    'Locks the run while its worker writes beside it. '
    'Errors: P0002 unknown run; 55000 lease lost or wrong state; 42501 missing right.';

-- Claiming must not become slower while a long transaction keeps dead rows alive: whoever looked at the queue from its
-- beginning would meet every run of the last hours. So one looks from the floor on: the age, in microseconds since
-- 1970, of the oldest run that waits. It lies a second back at least, for transactions that have not committed yet;
-- those that take longer are found at the next sweep, those of more than a minute at the next whole one.
create sequence ops.queue_floor minvalue 0 start 0;
-- From the floor on, but for each priority.
create table ops.run_priorities (priority integer primary key);
insert into ops.run_priorities values (0);
insert into ops.run_priorities select distinct priority from ops.runs where priority <> 0;
alter table ops.run_priorities enable row level security;
alter table ops.run_priorities force row level security;
create policy run_priorities_owner on ops.run_priorities for all to ops_owner using (true) with check (true);

create or replace function ops.queue_again(p_run ops.runs, p_event text, p_reason text, p_delay interval)
returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs;
    v_replacement uuid := ops.replacement_of(p_run);
begin
    update ops.runs
    set status = case when v_replacement is null then 'queued' else 'superseded' end,
        superseded_by = coalesce(superseded_by, v_replacement),
        finished_at = case when v_replacement is not null then clock_timestamp() end,
        handed_back = handed_back + case when p_event = 'handed_back' then 1 else 0 end,
        worker_id = null, lease = null, lease_expires_at = null, step = null,
        run_after = case when p_delay > interval '0' then clock_timestamp() + p_delay else queued_at end
    where id = p_run.id returning * into v_run;
    insert into ops.run_events (run_id, project_id, type, payload)
    values (v_run.id, v_run.project_id, case when v_replacement is null then p_event else 'superseded' end,
            jsonb_build_object('reason', left(p_reason, 4000), 'worker', p_run.worker_id,
                               'attempt', v_run.attempt - v_run.handed_back));
    return v_run;
end
$$;

create or replace function ops.requeue_lost_runs() returns integer
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
-- From the floor on by the index, or all.
set plan_cache_mode = force_custom_plan
as $$
declare
    v_run ops.runs;
    v_status text;
    v_count integer := 0;
    v_is_whole boolean;
    v_floor bigint := 0;
begin
    perform ops.require_worker();
    v_is_whole := ops.is_whole_sweep_due();
    if not v_is_whole then
        v_floor := coalesce(pg_sequence_last_value('ops.lease_floor'), 0);
    end if;
    -- The clock was set back: nobody waits for it to get there again.
    update ops.runs set lease_expires_at = clock_timestamp() + interval '30 seconds'
    where status in ('claimed', 'running') and (v_is_whole or lease >= v_floor)
      and lease_expires_at > clock_timestamp() + interval '40 seconds';
    for v_run in
        select * from ops.runs
        where status in ('claimed', 'running') and (v_is_whole or lease >= v_floor)
          and lease_expires_at < clock_timestamp()
        order by id for update skip locked
    loop
        v_status := case
            when v_run.superseded_by is not null then 'superseded'
            when v_run.cancel_requested_at is not null then 'canceled'
            when v_run.attempt - v_run.handed_back >= 3 then 'failed'
            else 'queued'
        end;
        if v_status = 'queued' then
            perform ops.queue_again(v_run, 'requeued', 'worker lost', interval '0');
        else
            update ops.runs
            set status = v_status, worker_id = null, lease = null, lease_expires_at = null, step = null,
                finished_at = clock_timestamp(),
                error_message = case when v_status = 'failed' then 'worker lost' end
            where id = v_run.id;
            insert into ops.run_events (run_id, project_id, type, payload)
            values (v_run.id, v_run.project_id, v_status,
                    jsonb_build_object('reason', 'worker lost', 'worker', v_run.worker_id, 'attempt', v_run.attempt));
        end if;
        v_count := v_count + 1;
    end loop;
    perform ops.sweep_floors(v_is_whole);
    return v_count;
end
$$;
comment on function ops.requeue_lost_runs() is
    'Queues runs whose lease ran out again, at most three attempts in all; workers call it every few seconds. '
    'Error: 42501 missing right.';

create or replace function ops.complete_workflow_run(p_run_id uuid, p_exit_code integer, p_error_message text default null)
returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs := ops.fenced_run(p_run_id, null);
begin
    if v_run.status in ('queued', 'claimed') then
        raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
    end if;
    return ops.finish_run(
        p_run_id, null, case when p_exit_code = 0 then 'succeeded' else 'failed' end, p_exit_code, p_error_message
    );
end
$$;
comment on function ops.complete_workflow_run(uuid, integer, text) is
    'running -> succeeded (0) or failed; a second identical call changes nothing. '
    'Errors: P0002 unknown run; 55000 wrong state or lease required; 42501 missing right.';

grant execute on function
    ops.register_worker(text, text, text, integer, text[]), ops.heartbeat(text, uuid[], bigint[], jsonb),
    ops.hold_run(uuid, bigint)
to ops_worker, ops_admin;
grant execute on function ops.drain_worker(text, boolean) to ops_web, ops_worker, ops_admin;
revoke insert, update, delete on ops.workers from ops_worker;
revoke insert, update on ops.hosts from ops_worker;

reset role;
