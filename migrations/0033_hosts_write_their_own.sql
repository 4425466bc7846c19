set role ops_owner;

-- What a joined host's login writes concerns work that was given to its own workers. Other logins pass everywhere.
create function ops.is_own_run(p_run_id uuid) returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    return not starts_with(session_user, 'ops_host_') or exists (
        select from ops.run_events e join ops.workers w on w.id = e.payload ->> 'worker'
        where e.run_id = p_run_id and e.type = 'claimed' and w.host_id = ops.session_host()
    );
end
$$;
comment on function ops.is_own_run(uuid) is
    'False for a joined host''s login that asks about a run which no worker of that host ever held.';
grant execute on function ops.is_own_run(uuid) to ops_worker, ops_admin;

-- The environment of a run, for who holds its lease: made when the run is first tried, found again when it is tried
-- once more. It is on the host of the worker that holds the run; what an earlier attempt left on another host has no
-- owner from then on. All that it belongs to is the run's.
create function ops.create_environment(
    p_run_id uuid, p_lease bigint, p_id uuid, p_database_name text, p_hostname text
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs := ops.hold_run(p_run_id, p_lease);
    v_host uuid;
    v_id uuid;
begin
    select w.host_id into v_host from ops.workers w where w.id = v_run.worker_id;
    select e.id into v_id from ops.environments e where e.run_id = p_run_id order by e.created_at desc limit 1;
    if v_id is not null then
        update ops.environments set host_id = v_host
        where id = v_id and state = 'building' and host_id is distinct from v_host;
        return v_id;
    end if;
    insert into ops.environments
        (id, project_id, branch_id, run_id, stage, git_ref, commit_sha, database_name, hostname, host_id)
    values (p_id, v_run.project_id, v_run.branch_id, p_run_id, ops.stage_of_run(v_run), v_run.git_ref, v_run.commit_sha,
            p_database_name, p_hostname, v_host);
    update ops.runs set environment_id = p_id where id = p_run_id;
    return p_id;
end
$$;
comment on function ops.create_environment(uuid, bigint, uuid, text, text) is
    'The run''s environment, on the host of the worker that holds it; returns its id, not p_id when it was there already. '
    'Errors: P0002 unknown run; 55000 lease lost or wrong state; 23505 the name is taken; 42501 missing right.';
grant execute on function ops.create_environment(uuid, bigint, uuid, text, text) to ops_worker, ops_admin;
revoke insert on ops.environments from ops_worker;
revoke update (environment_id) on ops.runs from ops_worker;

-- What an environment is was decided when its run was queued.
create function ops.refuse_other_environments() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    raise exception 'a host does not decide what an environment is' using errcode = '42501';
end
$$;
create trigger environments_of_own_host after update
    of project_id, branch_id, run_id, stage, git_ref, commit_sha, database_name, hostname
    on ops.environments for each row when (starts_with(session_user, 'ops_host_'))
    execute function ops.refuse_other_environments();

create function ops.refuse_other_hosts_output() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_host uuid := ops.session_host();
    v_ok boolean;
begin
    if tg_table_name = 'run_log_heads' then
        v_ok := ops.is_own_run(new.run_id);
    elsif tg_op = 'INSERT' then
        v_ok := ops.is_own_run(new.run_id)
            and exists (select from ops.workers w where w.id = new.collector and w.host_id = v_host);
    else
        v_ok := not exists (
            select from (values (old.collector), (new.collector)) c (collector)
            where not exists (select from ops.workers w where w.id = c.collector and w.host_id = v_host)
        );
    end if;
    if v_ok is not true then
        raise exception 'the output is of another host''s container' using errcode = '42501';
    end if;
    return null;
end
$$;
create trigger log_sources_of_own_host after insert or update on ops.log_sources
    for each row when (starts_with(session_user, 'ops_host_')) execute function ops.refuse_other_hosts_output();
-- The limit alone: lines are fenced by their source's lease, or their run's.
create trigger run_log_heads_of_own_host after insert or update of byte_limit on ops.run_log_heads
    for each row when (starts_with(session_user, 'ops_host_')) execute function ops.refuse_other_hosts_output();

create policy backups_insert_own_host on ops.backups as restrictive for insert to ops_worker
    with check (ops.is_own_run(run_id));
create policy backups_update_own_host on ops.backups as restrictive for update to ops_worker
    using (ops.is_own_run(run_id)) with check (ops.is_own_run(run_id));
create policy restores_insert_own_host on ops.restores as restrictive for insert to ops_worker
    with check (ops.is_own_run(run_id));
create policy restores_update_own_host on ops.restores as restrictive for update to ops_worker
    using (ops.is_own_run(run_id)) with check (ops.is_own_run(run_id));
create policy clusters_insert_own_host on ops.clusters as restrictive for insert to ops_worker
    with check (ops.is_own_host(host_id));
create policy clusters_update_own_host on ops.clusters as restrictive for update to ops_worker
    using (ops.is_own_host(host_id)) with check (ops.is_own_host(host_id));
create policy clusters_delete_own_host on ops.clusters as restrictive for delete to ops_worker
    using (ops.is_own_host(host_id));
create policy metric_samples_insert_own_host on ops.metric_samples as restrictive for insert to ops_worker
    with check (ops.is_own_host(host_id));
create policy mails_insert_own_host on ops.mails as restrictive for insert to ops_worker
    with check (
        not starts_with(session_user, 'ops_host_')
        or exists (select from ops.environments e where e.id = environment_id and ops.is_own_host(e.host_id))
    );
create policy tools_insert_no_host on ops.tools as restrictive for insert to ops_worker
    with check (not starts_with(session_user, 'ops_host_'));

reset role;
