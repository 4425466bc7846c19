set role ops_owner;

-- No run is under way with a lease below this, so that counting a worker's runs does not meet all that ever were while
-- a long transaction keeps dead rows alive. It lies some leases back, for claims that have not committed yet.
create sequence ops.lease_floor minvalue 0 start 0;

-- Whether a kind's limit is reached. Asked again under a lock by who claims.
create function ops.closed_kinds() returns text[]
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    return (
        select array_agg(l.kind) from ops.kind_limits l
        where l.max_running <= (
            select count(*) from ops.runs r
            where r.status in ('claimed', 'running') and r.kind = l.kind
        )
    );
end
$$;

-- Why a worker may claim nothing now; null when it may.
-- In PL/pgSQL, which keeps its plan.
create function ops.worker_hindrance(p_worker_id text) returns text
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_floor bigint := coalesce(pg_sequence_last_value('ops.lease_floor'), 0);
begin
    return (select case
        when h.revoked_at is not null then 'revoked'
        when w.draining_since is not null or b.stopping_since is not null then 'draining'
        when w.capacity <= (
            select count(*) from ops.runs r
            where r.worker_id = w.id and r.status in ('claimed', 'running')
              and r.lease >= v_floor
        ) then 'full'
        when b.memory_free_bytes < h.min_free_memory_bytes then 'memory'
        when b.disk_free_bytes < h.min_free_disk_bytes then 'disk'
    end
    from ops.workers w
    left join ops.hosts h on h.id = w.host_id
    left join ops.worker_heartbeats b on b.worker_id = w.id
    where w.id = p_worker_id);
end
$$;
comment on function ops.worker_hindrance(text) is
    'Why the worker may claim nothing now: revoked, draining, full, memory or disk; null when it may.';

create function ops.claim_run(p_run_id uuid, p_worker_id text) returns ops.runs
language plpgsql
as $$
declare
    v_run ops.runs;
begin
    update ops.runs r
    set status = 'claimed', worker_id = p_worker_id, attempt = r.attempt + 1,
        lease = nextval('ops.lease_seq'), lease_expires_at = clock_timestamp() + interval '30 seconds',
        claimed_at = clock_timestamp(), step = null
    where r.id = p_run_id returning r.* into v_run;
    insert into ops.run_events (run_id, project_id, type, payload)
    values (v_run.id, v_run.project_id, 'claimed',
            jsonb_build_object('worker', p_worker_id, 'attempt', v_run.attempt - v_run.handed_back, 'lease', v_run.lease));
    return v_run;
end
$$;

-- What is below the floors is looked at from time to time too: transactions that took too long to be seen.
create sequence ops.swept_whole_at minvalue 0 start 0;
create function ops.is_whole_sweep_due() returns boolean
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_now bigint := extract(epoch from clock_timestamp());
begin
    -- A clock that was set back is no reason to wait for it.
    return (pg_sequence_last_value('ops.swept_whole_at') between v_now - 14 and v_now) is not true;
end
$$;

create function ops.sweep_floors(p_is_whole boolean) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
-- In the order of the indexes, from the floors on.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_queue_floor timestamptz := '-infinity';
    v_lease_floor bigint := 0;
    v_oldest timestamptz;
    v_lease bigint;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('ops.floors', 0)) then
        return;
    end if;
    if not p_is_whole then
        v_queue_floor := to_timestamp(coalesce(pg_sequence_last_value('ops.queue_floor'), 0) / 1000000.0)
            - interval '1 minute';
        v_lease_floor := coalesce(pg_sequence_last_value('ops.lease_floor'), 0);
    end if;
    select min(first.queued_at) into v_oldest
    from ops.run_priorities p, lateral (
        select q.queued_at from ops.runs q
        where q.status = 'queued' and q.priority = p.priority and q.queued_at >= v_queue_floor
        order by q.queued_at, q.id limit 1
    ) first;
    perform setval('ops.queue_floor', greatest((extract(epoch from
        least(coalesce(v_oldest, 'infinity'), clock_timestamp() - interval '1 second')) * 1000000)::bigint, 0));
    -- The counter first: whoever takes a lease after that has a higher one.
    select last_value - 200 into v_lease from ops.lease_seq;
    perform setval('ops.lease_floor', greatest(least(v_lease, (
        select min(r.lease) from ops.runs r where r.status in ('claimed', 'running') and r.lease >= v_lease_floor)), 0));
    if p_is_whole then
        perform setval('ops.swept_whole_at', extract(epoch from clock_timestamp())::bigint);
    end if;
end
$$;

-- Whether a worker of another host could claim this run at once and has clearly more memory free.
create function ops.has_better_host(p_run ops.runs, p_host_id uuid, p_free bigint) returns boolean
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select exists (
        select from ops.workers w
        join ops.worker_heartbeats b on b.worker_id = w.id
        join ops.hosts h on h.id = w.host_id
        where w.host_id <> p_host_id and b.at > clock_timestamp() - interval '5 seconds'
          and p_run.kind = any (w.kinds) and p_run.requires <@ h.labels
          and b.memory_free_bytes > coalesce(p_free, 0) + coalesce(b.memory_total_bytes, 0) / 10
          and ops.worker_hindrance(w.id) is null
    )
$$;

-- The first run that this worker (or, without one, anybody) may take, locked; nulls when there is none. Called by
-- ops.claim_next_run, as which it runs and whose settings it needs.
create function ops.lock_next_run(
    p_worker_id text, p_host_id uuid, p_kinds text[], p_labels text[], p_free bigint, p_has_rivals boolean,
    p_closed text[],
    out p_run_id uuid, out p_kind text, out p_serial_key text
)
language plpgsql
as $$
declare
    v_floor timestamptz := to_timestamp(coalesce(pg_sequence_last_value('ops.queue_floor'), 0) / 1000000.0);
    v_priority integer;
begin
    for v_priority in select priority from ops.run_priorities order by priority desc loop
        select q.id, q.kind, q.serial_key into p_run_id, p_kind, p_serial_key from ops.runs q
        where q.status = 'queued'
          and q.priority = v_priority
          and q.queued_at >= v_floor
          -- What is not held back waits for no clock, not even one that was set back.
          and (q.run_after <= q.queued_at or q.run_after <= clock_timestamp())
          and (p_worker_id is null or q.kind = any (p_kinds))
          and (p_closed is null or q.kind <> all (p_closed))
          and (p_worker_id is null or q.host_id is null or q.host_id = p_host_id)
          and (p_host_id is null or q.requires <@ p_labels)
          and (
              q.serial_key is null
              or (
                  not exists (
                      select from ops.runs b
                      where b.serial_key = q.serial_key and b.status in ('claimed', 'running')
                  )
                  and q.id = (
                      select f.id from ops.runs f
                      where f.serial_key = q.serial_key and f.status = 'queued'
                      order by f.priority desc, f.queued_at, f.id limit 1
                  )
              )
          )
          -- A host with clearly more free memory that waits too has two seconds to take it.
          and (
              p_has_rivals is not true or q.host_id is not null
              or q.queued_at < clock_timestamp() - interval '2 seconds'
              or not ops.has_better_host(q, p_host_id, p_free)
          )
        order by q.queued_at, q.id
        limit 1
        for update skip locked;
        if found then
            return;
        end if;
    end loop;
end
$$;

create or replace function ops.claim_next_run(p_worker_id text) returns setof ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
-- What waits comes and goes faster than statistics: always in the order of the index.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
-- The plan for one worker is the plan for all: making one costs more than all else here.
set plan_cache_mode = force_generic_plan
as $$
declare
    v_worker record;
    v_limited boolean;
    v_closed text[];
    v_run record;
begin
    if not ops.is_worker() then
        perform ops.require_worker();
    end if;
    if starts_with(session_user, 'ops_host_') then
        perform ops.require_worker_of(p_worker_id);
    end if;
    -- Two sessions of the same worker must not both take its last slot.
    if exists (select from ops.workers w where w.id = p_worker_id) then
        perform pg_advisory_xact_lock(hashtextextended('ops.worker:' || p_worker_id, 0));
    end if;
    -- All that must be known of who asks, by one query.
    select w.id, w.host_id, w.kinds, h.labels, b.memory_free_bytes as free, ops.worker_hindrance(w.id) as hindrance,
        exists (
            select from ops.workers o join ops.worker_heartbeats c on c.worker_id = o.id
            where o.host_id <> w.host_id and c.at > clock_timestamp() - interval '5 seconds'
        ) as has_rivals
    into v_worker
    from ops.workers w
    left join ops.hosts h on h.id = w.host_id
    left join ops.worker_heartbeats b on b.worker_id = w.id
    where w.id = p_worker_id;
    if v_worker.hindrance is not null then
        return;
    end if;
    v_limited := exists (select from ops.kind_limits);
    if v_limited then
        v_closed := ops.closed_kinds();
    end if;
    -- Another claim may take the serial key between our look and our write: the unique index decides, we look again.
    for attempt in 1..10 loop
        v_run := ops.lock_next_run(
            v_worker.id, v_worker.host_id, v_worker.kinds, v_worker.labels, v_worker.free, v_worker.has_rivals, v_closed
        );
        if v_run.p_run_id is null then
            return;
        end if;
        if v_limited and exists (select from ops.kind_limits l where l.kind = v_run.p_kind) then
            perform pg_advisory_xact_lock(hashtextextended('ops.kind:' || v_run.p_kind, 0));
            v_closed := ops.closed_kinds();
            continue when v_run.p_kind = any (v_closed);
        end if;
        if v_run.p_serial_key is null then
            return next ops.claim_run(v_run.p_run_id, p_worker_id);
            return;
        end if;
        begin
            return next ops.claim_run(v_run.p_run_id, p_worker_id);
            return;
        exception
            when unique_violation then null;
        end;
    end loop;
end
$$;

grant execute on function ops.worker_hindrance(text), ops.closed_kinds() to ops_web, ops_admin;

reset role;
