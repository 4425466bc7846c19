set role ops_owner;

-- Labels ----------------------------------------------------------------------------------------------------------

create function ops.are_labels(p_labels text[]) returns boolean
language sql immutable
set search_path = pg_catalog, ops, pg_temp
as $$
    -- Of one dimension that begins at 1: clients read nothing else.
    select p_labels is not null and cardinality(p_labels) <= 16
      and coalesce(array_ndims(p_labels), 1) = 1 and coalesce(array_lower(p_labels, 1), 1) = 1
      and not exists (
          select from unnest(p_labels) label where label is null or label !~ '^[A-Za-z0-9_.=/-]{1,63}$'
      )
$$;
comment on function ops.are_labels(text[]) is
    'Whether these may be the labels of a host or a project: at most 16, each of 1 to 63 letters, digits and - _ . = /. '
    'No errors.';
-- A constraint is checked with the rights of who writes.
grant execute on function ops.are_labels(text[]) to ops_web, ops_worker, ops_admin;

alter table ops.projects
    add column required_labels text[] not null default '{}',
    add constraint projects_required_labels_form check (ops.are_labels(required_labels));
comment on column ops.projects.required_labels is
    'Labels that a host must have to do the project''s runs: who queues one copies them into ops.runs.requires.';

-- Who queues a run copies the labels, and who changes them changes the runs that wait: neither must miss the other.
-- Inlined where it is called, for it needs nobody else's rights.
create function ops.hold_project_labels(p_project_id uuid) returns void
language sql
as $$
    select pg_catalog.pg_advisory_xact_lock_shared(
        pg_catalog.hashtext('project labels'), pg_catalog.uuid_hash(p_project_id))
$$;
comment on function ops.hold_project_labels(uuid) is
    'Keeps the labels of a project as they are until the transaction ends. Who queues runs by an insert calls this '
    'first, in a statement of its own and before locking runs. No errors.';

create function ops.project_labels(p_project_id uuid) returns text[]
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.hold_project_labels(p_project_id);
    return (select required_labels from ops.projects where id = p_project_id);
end
$$;
comment on function ops.project_labels(uuid) is
    'What the project asks of a host, until the transaction ends; null when there is no such project. For the functions '
    'that queue. No errors.';

create function ops.are_labels_of(p_project_id uuid, p_labels text[]) returns boolean
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$ begin return ops.can_view_project(p_project_id) and p_labels = ops.project_labels(p_project_id); end $$;
comment on function ops.are_labels_of(uuid, text[]) is
    'Whether a project that who asks may see asks for these labels, until the transaction ends. No errors.';

grant execute on function ops.hold_project_labels(uuid), ops.are_labels_of(uuid, text[]) to ops_web, ops_admin;

-- Where all ways of queueing meet there is only the table, and a trigger would cost each insert: each way says it. What
-- is bound to a host (backups, restores) asks for nothing else.
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
    perform ops.hold_project_labels(v_project);
    insert into ops.runs (project_id, kind, git_ref, commit_sha, params, idempotency_key, requires, requested_by)
    values (v_project, p_kind, p_git_ref, p_commit_sha, coalesce(p_params, '{}'), p_idempotency_key,
            (select required_labels from ops.projects where id = v_project), ops.current_user_id())
    on conflict (project_id, idempotency_key) where idempotency_key is not null do nothing
    returning id into v_id;
    if v_id is null then
        select id into v_id from ops.runs where project_id = v_project and idempotency_key = p_idempotency_key;
    end if;
    return v_id;
end
$$;

create or replace function ops.perform_schedule(
    p_schedule ops.schedules, p_due_at timestamptz, p_missed integer, p_requested_by uuid
) returns ops.schedule_runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_done ops.schedule_runs;
    v_branch ops.branches;
    v_state text := 'queued';
    v_run uuid;
    v_error text;
    v_key text := 'schedule:' || p_schedule.id || ':'
        || to_char(p_due_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
begin
    if p_schedule.project_id is null then
        v_state := 'waiting';
    elsif p_schedule.kind = 'build' then
        select * into v_branch from ops.branches
        where id = (p_schedule.params ->> 'branch_id')::uuid and project_id = p_schedule.project_id
          and deleted_at is null;
        select id into v_run from ops.runs
        where branch_id = v_branch.id and kind = 'build' and status = 'queued' limit 1;
        v_error := case
            when v_branch.id is null then 'The branch is gone.'
            when v_branch.head_sha is null then 'The branch has no commit.'
            -- It would begin with a fresh database.
            when v_branch.stage = 'production' then 'The branch is production, which no schedule rebuilds.'
            when v_run is not null then 'A build of the branch waits already.'
        end;
        if v_error is not null then
            v_state := 'skipped';
        else
            insert into ops.runs (project_id, branch_id, kind, git_ref, commit_sha, params, serial_key,
                                  idempotency_key, requires, requested_by)
            values (p_schedule.project_id, v_branch.id, 'build', 'refs/heads/' || v_branch.name, v_branch.head_sha,
                    jsonb_build_object('stage', v_branch.stage, 'commit_subject', v_branch.head_subject,
                                       'commit_author', v_branch.head_author, 'schedule_id', p_schedule.id),
                    'branch:' || v_branch.id, v_key, ops.project_labels(p_schedule.project_id),
                    coalesce(p_requested_by, p_schedule.created_by))
            returning id into v_run;
        end if;
    else
        -- No commit is concerned; git writes that as zeros.
        insert into ops.runs (project_id, kind, git_ref, commit_sha, params, idempotency_key, requires, requested_by)
        values (p_schedule.project_id, p_schedule.kind, 'HEAD', repeat('0', 40),
                p_schedule.params || jsonb_build_object('schedule_id', p_schedule.id), v_key,
                ops.project_labels(p_schedule.project_id), coalesce(p_requested_by, p_schedule.created_by))
        returning id into v_run;
    end if;
    insert into ops.schedule_runs (schedule_id, project_id, due_at, missed, state, run_id, requested_by, error,
                                   finished_at)
    values (p_schedule.id, p_schedule.project_id, p_due_at, p_missed, v_state, v_run, p_requested_by, v_error,
            case when v_state = 'skipped' then clock_timestamp() end)
    returning * into v_done;
    return v_done;
end
$$;

create or replace function ops.rerun(p_run_id uuid) returns uuid
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
            v_run.serial_key,
            -- What the project asks for now. What is bound to a host goes there, whatever it has.
            case when v_run.host_id is null then ops.project_labels(v_run.project_id) else v_run.requires end,
            ops.current_user_id())
    returning id into v_id;
    return v_id;
end
$$;

-- Labels of a project change by ops.set_project_labels only, which frees what waits.
revoke update on ops.projects from ops_web;
grant update (slug, name, odoo_series, image, remote_url, settings, archived_at, fetched_at, fetch_error)
    on ops.projects to ops_web;

-- Who inserts by hand asks for the same.
grant insert (requires) on ops.runs to ops_web;
alter policy runs_insert on ops.runs with check (
    ops.can_queue(project_id, branch_id, kind, params, serial_key)
    and (requested_by is null or requested_by = ops.current_user_id() or ops.is_platform_admin())
    and ops.are_labels_of(project_id, requires)
);

create function ops.set_project_labels(p_project_id uuid, p_labels text[]) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if not ops.can_view_project(p_project_id)
        or not exists (select from ops.projects where id = p_project_id and archived_at is null)
    then
        raise exception 'unknown project: %', p_project_id using errcode = 'P0002';
    end if;
    if not ops.can_administer_project(p_project_id) then
        raise exception 'your role in this project may not change its labels' using errcode = '42501';
    end if;
    if not ops.are_labels(p_labels) then
        raise exception 'these are no labels: %', left(p_labels::text, 200) using errcode = '22023';
    end if;
    perform pg_advisory_xact_lock(hashtext('project labels'), uuid_hash(p_project_id));
    update ops.projects set required_labels = p_labels where id = p_project_id;
    -- What waits where nobody can take it is freed, and what is tried again goes where it should.
    perform from ops.runs
    where project_id = p_project_id and status in ('queued', 'claimed', 'running') and host_id is null
    order by id for update;
    update ops.runs set requires = p_labels
    where project_id = p_project_id and status in ('queued', 'claimed', 'running') and host_id is null
      and requires <> p_labels;
    perform pg_notify('ops_run', '');
end
$$;
comment on function ops.set_project_labels(uuid, text[]) is
    'What a host must have to do the project''s runs, those included that wait and those that are tried again; what is '
    'under way stays where it is. Errors: P0002 unknown project; 42501 missing right; 22023 no labels.';

create function ops.set_host_labels(p_host_id uuid, p_labels text[]) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_platform_admin();
    if not ops.are_labels(p_labels) then
        raise exception 'these are no labels: %', left(p_labels::text, 200) using errcode = '22023';
    end if;
    update ops.hosts set labels = p_labels where id = p_host_id;
    if not found then
        raise exception 'unknown host: %', p_host_id using errcode = 'P0002';
    end if;
    -- It may be able to take what waits.
    perform pg_notify('ops_run', '');
end
$$;
comment on function ops.set_host_labels(uuid, text[]) is
    'What the host has, for runs that ask for it; what is under way there stays. '
    'Errors: P0002 unknown host; 42501 missing right; 22023 no labels.';

-- Capacity --------------------------------------------------------------------------------------------------------

create function ops.set_host_limits(p_host_id uuid, p_min_free_memory_bytes bigint, p_min_free_disk_bytes bigint)
returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_platform_admin();
    if p_min_free_memory_bytes < 0 or p_min_free_disk_bytes < 0 then
        raise exception 'less than nothing cannot stay free' using errcode = '22023';
    end if;
    update ops.hosts
    set min_free_memory_bytes = coalesce(p_min_free_memory_bytes, min_free_memory_bytes),
        min_free_disk_bytes = coalesce(p_min_free_disk_bytes, min_free_disk_bytes)
    where id = p_host_id;
    if not found then
        raise exception 'unknown host: %', p_host_id using errcode = 'P0002';
    end if;
    perform pg_notify('ops_run', '');
end
$$;
comment on function ops.set_host_limits(uuid, bigint, bigint) is
    'How much memory and disk must be free on the host for a run to begin there; null leaves a figure as it is. '
    'Errors: P0002 unknown host; 42501 missing right; 22023 a negative size.';

grant execute on function
    ops.set_project_labels(uuid, text[]), ops.set_host_labels(uuid, text[]),
    ops.set_host_limits(uuid, bigint, bigint)
to ops_web, ops_admin;

-- Whether a worker of another host could claim this run at once and has clearly more memory free, and not less disk
-- than who asks, unless it has plenty.
create or replace function ops.has_better_host(p_run ops.runs, p_host_id uuid, p_free bigint) returns boolean
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
          -- Who does not tell its disk is judged by memory alone.
          and (
              b.disk_free_bytes / 2 > h.min_free_disk_bytes
              or b.disk_free_bytes >= (
                  select max(own.disk_free_bytes) from ops.workers o
                  join ops.worker_heartbeats own on own.worker_id = o.id
                  where o.host_id = p_host_id and own.at > clock_timestamp() - interval '5 seconds'
              )
          ) is not false
          and ops.worker_hindrance(w.id) is null
    )
$$;

reset role;
