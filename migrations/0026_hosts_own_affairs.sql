set role ops_owner;

-- What functions write for a joined host's login concerns that host: its worker, its heartbeat, nothing of the host
-- itself. Other logins never fire these.
create function ops.refuse_other_hosts_workers() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_host uuid := ops.session_host();
    v_ok boolean;
begin
    if tg_table_name = 'workers' then
        v_ok := new.host_id = v_host and (tg_op = 'INSERT' or old.host_id = v_host);
    else
        v_ok := exists (select from ops.workers w where w.id = new.worker_id and w.host_id = v_host);
    end if;
    if v_ok is not true then
        raise exception 'this login acts for the workers of its own host only' using errcode = '42501';
    end if;
    return new;
end
$$;
create trigger workers_of_own_host before insert or update on ops.workers
    for each row when (starts_with(session_user, 'ops_host_')) execute function ops.refuse_other_hosts_workers();
create trigger heartbeats_of_own_host before insert or update on ops.worker_heartbeats
    for each row when (starts_with(session_user, 'ops_host_')) execute function ops.refuse_other_hosts_workers();

create function ops.refuse_hosts_by_hosts() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    raise exception 'a host does not decide what hosts are' using errcode = '42501';
end
$$;
-- Registering inserts where the name is new, which no joined host's is.
create trigger hosts_not_by_hosts after insert on ops.hosts
    for each row when (starts_with(session_user, 'ops_host_')) execute function ops.refuse_hosts_by_hosts();

-- Without a lease one acts under the run's first: before it is given there is none, and once it is lost it stays lost.
create or replace function ops.fenced_run(p_run_id uuid, p_lease bigint) returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs;
begin
    if not ops.is_worker() then
        perform ops.require_worker();
    end if;
    select * into v_run from ops.runs where id = p_run_id for no key update;
    if v_run.id is null then
        raise exception 'unknown run: %', p_run_id using errcode = 'P0002';
    end if;
    if p_lease is not null then
        if v_run.lease is distinct from p_lease then
            raise exception 'lease lost' using errcode = '55000';
        end if;
    elsif v_run.attempt > 1 then
        raise exception 'lease required' using errcode = '55000',
            hint = 'the run was claimed more than once; call the form that takes the lease';
    elsif v_run.attempt = 1 and v_run.lease is null then
        raise exception 'lease lost' using errcode = '55000';
    elsif v_run.attempt = 0 then
        raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
    end if;
    if starts_with(session_user, 'ops_host_') then
        perform ops.require_worker_of(v_run.worker_id);
    end if;
    return v_run;
end
$$;

-- Where an environment is, for who may see it: null for the console's own machine.
create function ops.environment_whereabouts(p_environment_id uuid)
returns table (host_id uuid, node_address text, revoked boolean)
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select case when h.db_role is not null then h.id end, h.node_address, coalesce(h.revoked_at is not null, false)
    from ops.environments e left join ops.hosts h on h.id = e.host_id
    where e.id = p_environment_id and ops.can_view_project(e.project_id)
$$;
comment on function ops.environment_whereabouts(uuid) is
    'The joined host that an environment is on, and where that is called; no row for who may not see the environment.';
grant execute on function ops.environment_whereabouts(uuid) to ops_web, ops_admin;

reset role;
