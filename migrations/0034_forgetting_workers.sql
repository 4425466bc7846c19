set role ops_owner;

-- Why a worker (or a host that has none) must not be forgotten: one of running, heard, environments, quarantine; null
-- when it may, or is not known. For who may see it all, as administrators may.
create function ops.worker_holds(p_name text) returns text
language sql stable
set search_path = pg_catalog, ops, pg_temp
as $$
    with subject as (
        select w.id as worker, w.host_id,
            greatest(w.last_heartbeat_at, b.at) as heard_at,
            -- Another worker speaks for the host: that one stays.
            exists (select from ops.workers o where o.host_id = w.host_id and o.id <> w.id) as host_stays
        from ops.workers w left join ops.worker_heartbeats b on b.worker_id = w.id
        where w.id = p_name
        union all
        select null, h.id, greatest(h.created_at, h.joined_at), false
        from ops.hosts h
        where h.name = p_name and not exists (select from ops.workers w where w.host_id = h.id or w.id = p_name)
    )
    select case
        when s.heard_at >= clock_timestamp() - interval '30 seconds' then 'heard'
        when exists (
            select from ops.runs r
            where r.status in ('claimed', 'running') and r.worker_id = s.worker
        ) then 'running'
        when s.host_stays or s.host_id is null then null
        when exists (
            select from ops.runs r
            where r.status in ('queued', 'claimed', 'running') and r.host_id = s.host_id
        ) then 'running'
        when exists (
            select from ops.environments e
            where e.host_id = s.host_id and e.state in ('building', 'running', 'stopped', 'destroying')
        ) then 'environments'
        when exists (
            select from ops.quarantine q
            where q.host_id = s.host_id and q.deleted_at is null and q.restored_at is null
        ) then 'quarantine'
    end
    from subject s
$$;
comment on function ops.worker_holds(text) is
    'Why the worker of that name, or the host that has none, must not be forgotten: heard (within thirty seconds), '
    'running (it holds runs, or some wait for its host), environments, quarantine. Null: it may, or is unknown. '
    'No errors.';

-- A host's login is made by ops_host_maker, and so it goes.
reset role;
create function ops.drop_host_login(p_role text) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.end_host_login(p_role);
    if exists (select from pg_catalog.pg_roles where rolname = p_role) then
        execute format('drop role %I', p_role);
    end if;
end
$$;
comment on function ops.drop_host_login(text) is
    'Ends a host''s sessions and removes its database login. Error: 22023 malformed.';
grant create on schema ops to ops_host_maker;
alter function ops.drop_host_login(text) owner to ops_host_maker;
revoke create on schema ops from ops_host_maker;
set role ops_host_maker;
revoke all on function ops.drop_host_login(text) from public;
grant execute on function ops.drop_host_login(text) to ops_owner;
reset role;

set role ops_owner;

-- True: its host is forgotten with it.
create function ops.forget_worker(p_name text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_worker ops.workers;
    v_host ops.hosts;
    v_holds text;
begin
    perform ops.require_platform_admin();
    select * into v_worker from ops.workers where id = p_name for update;
    select * into v_host from ops.hosts h
    where case when v_worker.id is not null then h.id = v_worker.host_id
               else h.name = p_name and not exists (select from ops.workers w where w.host_id = h.id) end
    for update;
    if v_worker.id is null and v_host.id is null then
        raise exception 'unknown worker: %', left(p_name, 80) using errcode = 'P0002';
    end if;
    v_holds := ops.worker_holds(p_name);
    if v_holds is not null then
        raise exception '%', case v_holds
                when 'heard' then 'the worker was heard of within the last thirty seconds'
                when 'running' then 'the worker holds runs, or runs wait for its host'
                when 'environments' then 'environments are on its host'
                else 'data in quarantine is on its host'
            end
            using errcode = '55000', constraint = 'worker_holds_' || v_holds;
    end if;
    delete from ops.workers where id = v_worker.id;
    if v_host.id is null or exists (select from ops.workers where host_id = v_host.id) then
        return false;
    end if;
    -- Told, so that what is open to it is closed.
    update ops.hosts set revoked_at = coalesce(revoked_at, clock_timestamp()) where id = v_host.id;
    if v_host.db_role is not null then
        perform ops.drop_host_login(v_host.db_role);
    end if;
    update ops.environments set host_id = null where host_id = v_host.id;
    delete from ops.quarantine where host_id = v_host.id;
    delete from ops.hosts where id = v_host.id;
    return true;
end
$$;
comment on function ops.forget_worker(text) is
    'Forgets a worker that is silent and holds nothing, with its host when no other worker speaks for that; or a host '
    'of that name that has no worker. Returns whether the host is forgotten too; its machine must join again. '
    'Errors: 42501 missing right; P0002 unknown worker; 55000 it was heard of lately (in the error''s constraint '
    'worker_holds_heard), holds runs (worker_holds_running), environments (worker_holds_environments) or data in '
    'quarantine (worker_holds_quarantine).';

grant execute on function ops.worker_holds(text), ops.forget_worker(text) to ops_web, ops_admin;

reset role;
