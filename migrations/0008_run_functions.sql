set role ops_owner;

-- Errors of the functions below:
--   P0002 unknown id          42501 missing right       55000 wrong state, lease lost or lease required
--   55006 wrong worker        22023 bad argument
create function ops.require_worker() returns void
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if not (pg_has_role(session_user, 'ops_worker', 'member') or ops.is_platform_admin()) then
        raise exception 'only workers and administrators may do this' using errcode = '42501';
    end if;
end
$$;

create function ops.create_project(p_slug text, p_name text) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_id uuid;
begin
    if not ops.is_platform_admin() then
        raise exception 'only platform administrators create projects' using errcode = '42501';
    end if;
    insert into ops.projects (slug, name) values (p_slug, p_name) returning id into v_id;
    return v_id;
end
$$;
comment on function ops.create_project(text, text) is
    'Adds a project. Errors: 42501 missing right; 23505 the slug is taken; 23514 the slug is malformed.';

create function ops.queue_run(
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
    v_id uuid;
begin
    select id into v_project from ops.projects where slug = p_project or id::text = lower(p_project);
    if v_project is null or not ops.can_view_project(v_project) then
        raise exception 'unknown project: %', left(p_project, 80) using errcode = 'P0002';
    end if;
    if not ops.can_write_project(v_project) then
        raise exception 'your role in this project may not queue runs' using errcode = '42501';
    end if;
    insert into ops.runs (project_id, kind, git_ref, commit_sha, params, idempotency_key, requested_by)
    values (v_project, p_kind, p_git_ref, p_commit_sha, coalesce(p_params, '{}'), p_idempotency_key, ops.current_user_id())
    on conflict on constraint runs_idempotency_key do nothing
    returning id into v_id;
    if v_id is null then
        select id into v_id from ops.runs where project_id = v_project and idempotency_key = p_idempotency_key;
    end if;
    return v_id;
end
$$;
comment on function ops.queue_run(text, text, text, text, jsonb, text) is
    'Adds a run to the project with that slug or id; the same key returns the same run. '
    'Errors: P0002 unknown project; 42501 missing right; 23514 bad kind, ref or commit.';

create function ops.claim_next_run(p_worker_id text) returns setof ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_kinds text[];
    v_run ops.runs;
begin
    perform ops.require_worker();
    select kinds into v_kinds from ops.workers where id = p_worker_id;
    -- Another claim may take the serial key between our look and our write: the unique index decides, we look again.
    for attempt in 1..10 loop
        begin
            update ops.runs r
            set status = 'claimed', worker_id = p_worker_id, attempt = r.attempt + 1,
                lease = nextval('ops.lease_seq'), lease_expires_at = clock_timestamp() + interval '30 seconds',
                claimed_at = clock_timestamp(), step = null
            where r.id = (
                select q.id from ops.runs q
                where q.status = 'queued'
                  and q.run_after <= clock_timestamp()
                  and (v_kinds is null or q.kind = any (v_kinds))
                  and (
                      q.serial_key is null
                      or not exists (
                          select 1 from ops.runs b
                          where b.serial_key = q.serial_key and b.status in ('claimed', 'running')
                      )
                  )
                order by q.priority desc, q.queued_at, q.id
                limit 1
                for update skip locked
            )
            returning r.* into v_run;
            if v_run.id is null then
                return;
            end if;
            insert into ops.run_events (run_id, project_id, type, payload)
            values (v_run.id, v_run.project_id, 'claimed',
                    jsonb_build_object('worker', p_worker_id, 'attempt', v_run.attempt));
            return next v_run;
            return;
        exception
            when unique_violation then null;
        end;
    end loop;
end
$$;
comment on function ops.claim_next_run(text) is
    'Hands the next runnable run to exactly one worker; no row when there is none. Error: 42501 missing right.';

-- Locks the run and checks that the caller may write to it. Without a lease only a run's first claim may.
create function ops.fenced_run(p_run_id uuid, p_lease bigint) returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs;
begin
    perform ops.require_worker();
    select * into v_run from ops.runs where id = p_run_id for update;
    if v_run.id is null then
        raise exception 'unknown run: %', p_run_id using errcode = 'P0002';
    end if;
    if p_lease is null then
        if v_run.attempt > 1 then
            raise exception 'lease required' using errcode = '55000',
                hint = 'the run was claimed more than once; call the form that takes the lease';
        end if;
    elsif v_run.lease is distinct from p_lease then
        raise exception 'lease lost' using errcode = '55000';
    end if;
    return v_run;
end
$$;

create function ops.start_workflow_run(p_run_id uuid, p_worker_id text, p_lease bigint) returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs := ops.fenced_run(p_run_id, p_lease);
begin
    if v_run.status not in ('claimed', 'running') then
        raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
    end if;
    if v_run.worker_id is distinct from p_worker_id then
        raise exception 'the run is held by another worker' using errcode = '55006';
    end if;
    if v_run.status = 'claimed' then
        update ops.runs set status = 'running', started_at = coalesce(started_at, clock_timestamp())
        where id = p_run_id returning * into v_run;
        insert into ops.run_events (run_id, project_id, type, payload)
        values (v_run.id, v_run.project_id, 'started', jsonb_build_object('worker', p_worker_id));
    end if;
    return v_run;
end
$$;

create function ops.start_workflow_run(p_run_id uuid, p_worker_id text) returns ops.runs
language sql security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select ops.start_workflow_run(p_run_id, p_worker_id, null) $$;

create function ops.finish_run(
    p_run_id uuid, p_lease bigint, p_status text, p_exit_code integer, p_error_message text
) returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs := ops.fenced_run(p_run_id, p_lease);
    v_status text := p_status;
begin
    if p_status not in ('succeeded', 'warning', 'failed', 'timed_out', 'canceled') then
        raise exception 'a run cannot finish as %', p_status using errcode = '22023';
    end if;
    if v_run.status not in ('queued', 'claimed', 'running') then
        -- The same word again changes nothing; another word comes too late.
        if v_run.status = p_status or (p_status = 'canceled' and v_run.status = 'superseded') then
            return v_run;
        end if;
        raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
    end if;
    if v_run.status = 'queued' then
        raise exception 'wrong state: the run is queued' using errcode = '55000';
    end if;
    if p_status = 'canceled' and v_run.superseded_by is not null then
        v_status := 'superseded';
    end if;
    update ops.runs
    set status = v_status, exit_code = p_exit_code, error_message = left(p_error_message, 4000),
        finished_at = clock_timestamp(), lease_expires_at = null, step = null
    where id = p_run_id returning * into v_run;
    insert into ops.run_events (run_id, project_id, type, payload)
    values (v_run.id, v_run.project_id, v_status,
            jsonb_strip_nulls(jsonb_build_object('exit_code', p_exit_code, 'error', left(p_error_message, 4000))));
    return v_run;
end
$$;

create function ops.complete_workflow_run(p_run_id uuid, p_exit_code integer, p_error_message text default null)
returns ops.runs
language sql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select ops.finish_run(
        p_run_id, null, case when p_exit_code = 0 then 'succeeded' else 'failed' end, p_exit_code, p_error_message
    )
$$;

-- The worker gives the run back: it will be tried again, or fails when it was tried three times.
create function ops.retry_run(p_run_id uuid, p_lease bigint, p_reason text, p_delay interval default '5 seconds')
returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs := ops.fenced_run(p_run_id, p_lease);
begin
    if v_run.status not in ('claimed', 'running') then
        raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
    end if;
    if v_run.cancel_requested_at is not null then
        return ops.finish_run(p_run_id, p_lease, 'canceled', null, p_reason);
    end if;
    if v_run.attempt >= 3 then
        return ops.finish_run(p_run_id, p_lease, 'failed', null, p_reason);
    end if;
    update ops.runs
    set status = 'queued', worker_id = null, lease = null, lease_expires_at = null, step = null,
        run_after = clock_timestamp() + p_delay
    where id = p_run_id returning * into v_run;
    insert into ops.run_events (run_id, project_id, type, payload)
    values (v_run.id, v_run.project_id, 'retried',
            jsonb_build_object('reason', left(p_reason, 4000), 'attempt', v_run.attempt));
    return v_run;
end
$$;

-- Renews leases and tells which runs are to be canceled. A run that is not returned is lost.
create function ops.heartbeat(p_worker_id text, p_run_ids uuid[], p_leases bigint[])
returns table (run_id uuid, cancel_requested boolean)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    update ops.workers set last_heartbeat_at = clock_timestamp() where id = p_worker_id;
    return query
        update ops.runs r set lease_expires_at = clock_timestamp() + interval '30 seconds'
        from unnest(p_run_ids, p_leases) as held (id, lease)
        where r.id = held.id and r.lease = held.lease and r.status in ('claimed', 'running')
        returning r.id, r.cancel_requested_at is not null;
end
$$;

-- Runs whose worker went silent go back to the queue, at most three times.
create function ops.requeue_lost_runs() returns integer
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs;
    v_status text;
    v_count integer := 0;
begin
    perform ops.require_worker();
    for v_run in
        select * from ops.runs
        where status in ('claimed', 'running') and lease_expires_at < clock_timestamp()
        order by id for update skip locked
    loop
        v_status := case
            when v_run.superseded_by is not null then 'superseded'
            when v_run.cancel_requested_at is not null then 'canceled'
            when v_run.attempt >= 3 then 'failed'
            else 'queued'
        end;
        update ops.runs
        set status = v_status, worker_id = null, lease = null, lease_expires_at = null, step = null,
            finished_at = case when v_status = 'queued' then null else clock_timestamp() end,
            error_message = case when v_status = 'failed' then 'worker lost' end
        where id = v_run.id;
        insert into ops.run_events (run_id, project_id, type, payload)
        values (v_run.id, v_run.project_id, case when v_status = 'queued' then 'requeued' else v_status end,
                jsonb_build_object('reason', 'worker lost', 'worker', v_run.worker_id, 'attempt', v_run.attempt));
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;

-- The runs that a worker of this name held before it was restarted: their leases end now.
create function ops.release_worker_runs(p_worker_id text) returns integer
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_worker();
    update ops.runs set lease_expires_at = clock_timestamp() - interval '1 second'
    where worker_id = p_worker_id and status in ('claimed', 'running');
    return ops.requeue_lost_runs();
end
$$;

create function ops.append_event(p_run_id uuid, p_type text, p_payload jsonb, p_lease bigint) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs := ops.fenced_run(p_run_id, p_lease);
    v_id bigint;
begin
    insert into ops.run_events (run_id, project_id, type, payload)
    values (p_run_id, v_run.project_id, p_type, coalesce(p_payload, '{}'))
    returning id into v_id;
    if p_type = 'step_started' then
        update ops.runs set step = p_payload ->> 'step' where id = p_run_id;
    end if;
    perform pg_notify('ops_run_changed', p_run_id::text);
    return v_id;
end
$$;

create function ops.append_event(p_run_id uuid, p_type text, p_payload jsonb) returns bigint
language sql security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select ops.append_event(p_run_id, p_type, p_payload, null) $$;

create function ops.add_run_artifact(
    p_run_id uuid, p_artifact_key text, p_s3_url text, p_checksum text, p_content_type text, p_size_bytes bigint,
    p_expires_at timestamptz, p_lease bigint
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_id uuid;
begin
    perform ops.fenced_run(p_run_id, p_lease);
    insert into ops.run_artifacts (run_id, artifact_key, s3_url, checksum, content_type, size_bytes, expires_at)
    values (p_run_id, p_artifact_key, p_s3_url, p_checksum, p_content_type, p_size_bytes, p_expires_at)
    on conflict on constraint run_artifacts_key do update
        set s3_url = excluded.s3_url, checksum = excluded.checksum, content_type = excluded.content_type,
            size_bytes = excluded.size_bytes, expires_at = excluded.expires_at
    returning id into v_id;
    return v_id;
end
$$;

create function ops.add_run_artifact(
    p_run_id uuid, p_artifact_key text, p_s3_url text, p_checksum text, p_content_type text, p_size_bytes bigint,
    p_expires_at timestamptz default null
) returns uuid
language sql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select ops.add_run_artifact(
        p_run_id, p_artifact_key, p_s3_url, p_checksum, p_content_type, p_size_bytes, p_expires_at, null
    )
$$;

create function ops.list_queued_runs() returns setof ops.runs
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if not ops.is_platform_admin() then
        raise exception 'only platform administrators see the whole queue' using errcode = '42501';
    end if;
    return query select * from ops.runs where status = 'queued' order by priority desc, queued_at, id;
end
$$;

-- Asks for a run's end: at once while it is queued, by its worker within two seconds otherwise.
create function ops.cancel_run(p_run_id uuid, p_superseded_by uuid default null) returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs;
    v_status text := case when p_superseded_by is null then 'canceled' else 'superseded' end;
begin
    select * into v_run from ops.runs where id = p_run_id for update;
    if v_run.id is null or not ops.can_view_project(v_run.project_id) then
        raise exception 'unknown run: %', p_run_id using errcode = 'P0002';
    end if;
    if not ops.can_write_project(v_run.project_id) then
        raise exception 'your role in this project may not cancel runs' using errcode = '42501';
    end if;
    if v_run.status = 'queued' then
        update ops.runs
        set status = v_status, finished_at = clock_timestamp(), cancel_requested_at = clock_timestamp(),
            superseded_by = p_superseded_by
        where id = p_run_id returning * into v_run;
        insert into ops.run_events (run_id, project_id, type, payload)
        values (v_run.id, v_run.project_id, v_status, jsonb_build_object('by', ops.current_user_id()));
    elsif v_run.status in ('claimed', 'running') then
        update ops.runs
        set cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
            superseded_by = coalesce(superseded_by, p_superseded_by)
        where id = p_run_id returning * into v_run;
        insert into ops.run_events (run_id, project_id, type, payload)
        values (v_run.id, v_run.project_id, 'cancel_requested', jsonb_build_object('by', ops.current_user_id()));
    else
        raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
    end if;
    return v_run;
end
$$;

grant execute on function
    ops.create_project(text, text), ops.queue_run(text, text, text, text, jsonb, text), ops.list_queued_runs(),
    ops.cancel_run(uuid, uuid)
to ops_web, ops_admin;
grant execute on function
    ops.claim_next_run(text), ops.start_workflow_run(uuid, text), ops.start_workflow_run(uuid, text, bigint),
    ops.finish_run(uuid, bigint, text, integer, text), ops.complete_workflow_run(uuid, integer, text),
    ops.retry_run(uuid, bigint, text, interval), ops.heartbeat(text, uuid[], bigint[]), ops.requeue_lost_runs(),
    ops.release_worker_runs(text),
    ops.append_event(uuid, text, jsonb), ops.append_event(uuid, text, jsonb, bigint),
    ops.add_run_artifact(uuid, text, text, text, text, bigint, timestamptz),
    ops.add_run_artifact(uuid, text, text, text, text, bigint, timestamptz, bigint)
to ops_worker, ops_admin;

reset role;
