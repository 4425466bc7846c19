set role ops_owner;

-- A person's retry: the same work again, as a run of its own.
create function ops.rerun(p_run_id uuid) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs;
    v_id uuid;
begin
    select * into v_run from ops.runs where id = p_run_id;
    if v_run.id is null or not ops.can_view_project(v_run.project_id) then
        raise exception 'unknown run: %', p_run_id using errcode = 'P0002';
    end if;
    if v_run.status in ('queued', 'claimed', 'running') then
        raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
    end if;
    if exists (select from ops.branches b where b.id = v_run.branch_id and b.deleted_at is not null) then
        raise exception 'wrong state: the branch is deleted' using errcode = '55000';
    end if;
    if not ops.can_push(v_run.project_id, ops.stage_of_run(v_run))
        or not ops.can_queue(v_run.project_id, v_run.branch_id, v_run.kind, v_run.params, null)
    then
        raise exception 'your role in this project may not queue this run' using errcode = '42501';
    end if;
    insert into ops.runs (project_id, branch_id, workflow_id, host_id, kind, git_ref, commit_sha, params, priority,
                          serial_key, requires, requested_by)
    values (v_run.project_id, v_run.branch_id, v_run.workflow_id, v_run.host_id, v_run.kind, v_run.git_ref,
            v_run.commit_sha, v_run.params || jsonb_build_object('rerun_of', v_run.id), v_run.priority,
            v_run.serial_key, v_run.requires, ops.current_user_id())
    returning id into v_id;
    return v_id;
end
$$;
comment on function ops.rerun(uuid) is
    'Queues a run that ended once more, as a new run. Errors: P0002 unknown run; 42501 missing right; 55000 wrong state.';

create function ops.set_run_priority(p_run_id uuid, p_priority integer) returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs;
begin
    select * into v_run from ops.runs where id = p_run_id for update;
    if v_run.id is null or not ops.can_view_project(v_run.project_id) then
        raise exception 'unknown run: %', p_run_id using errcode = 'P0002';
    end if;
    -- It moves ahead of other projects' runs.
    if not ops.is_platform_admin() then
        raise exception 'only platform administrators set priorities' using errcode = '42501';
    end if;
    if v_run.status <> 'queued' then
        raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
    end if;
    update ops.runs set priority = p_priority where id = p_run_id returning * into v_run;
    insert into ops.run_events (run_id, project_id, type, payload)
    values (v_run.id, v_run.project_id, 'priority_set',
            jsonb_build_object('priority', p_priority, 'by', ops.current_user_id()));
    return v_run;
end
$$;
comment on function ops.set_run_priority(uuid, integer) is
    'Moves a queued run ahead of those with a lower priority. '
    'Errors: P0002 unknown run; 42501 missing right; 55000 wrong state.';

-- Every attempt, from the events: who had it, and how it ended.
create view ops.run_attempts with (security_invoker = true) as
select c.run_id, c.project_id,
       row_number() over (partition by c.run_id order by c.id) as claim,
       (c.payload ->> 'attempt')::integer as attempt,
       (c.payload ->> 'lease')::bigint as lease,
       c.payload ->> 'worker' as worker_id,
       c.created_at as claimed_at,
       s.created_at as started_at,
       e.created_at as ended_at,
       e.type as outcome,
       coalesce(e.payload ->> 'reason', e.payload ->> 'error') as reason
from ops.run_events c
left join lateral (
    select n.id from ops.run_events n where n.run_id = c.run_id and n.type = 'claimed' and n.id > c.id order by n.id limit 1
) next on true
left join lateral (
    select n.created_at from ops.run_events n
    where n.run_id = c.run_id and n.type = 'started' and n.id > c.id and (next.id is null or n.id < next.id)
    order by n.id limit 1
) s on true
left join lateral (
    select n.created_at, n.type, n.payload from ops.run_events n
    where n.run_id = c.run_id and n.id > c.id and (next.id is null or n.id < next.id)
      and n.type in ('requeued', 'retried', 'handed_back', 'succeeded', 'warning', 'failed', 'timed_out', 'canceled', 'superseded')
    order by n.id limit 1
) e on true
where c.type = 'claimed';
comment on view ops.run_attempts is
    'One row for each claim of a run. outcome: null while it goes on; requeued (the worker was lost), retried, '
    'handed_back, or the status that the run ended with.';
grant select on ops.run_attempts to ops_web, ops_worker, ops_admin;

grant execute on function ops.rerun(uuid), ops.set_run_priority(uuid, integer) to ops_web, ops_admin;

reset role;
