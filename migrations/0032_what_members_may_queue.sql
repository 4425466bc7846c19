set role ops_owner;

-- Whether who asks may push, build, cancel and rebuild in this stage.
create function ops.can_push(p_project_id uuid, p_stage text) returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    return coalesce(ops.project_role(p_project_id) = any (case p_stage
        when 'production' then '{owner,admin}'
        when 'staging' then '{owner,admin,tester,developer}'
        when 'development' then '{owner,admin,tester,developer}'
    end::text[]), false);
end
$$;
comment on function ops.can_push(uuid, text) is
    'Whether who asks may push to branches of this stage, and queue and cancel what is built for it.';

-- Whether who asks may end an environment of this stage.
create function ops.can_destroy(p_project_id uuid, p_stage text) returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    return coalesce(ops.project_role(p_project_id) = any (case p_stage
        when 'production' then '{owner}'
        when 'staging' then '{owner,admin,tester}'
        when 'development' then '{owner,admin,tester,developer}'
    end::text[]), false);
end
$$;
comment on function ops.can_destroy(uuid, text) is 'Whether who asks may destroy environments of this stage.';

-- The stage whose rights count for a run: of its environment, else the one that it was queued for, else its branch's.
create function ops.stage_of_run(p_run ops.runs) returns text
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    return coalesce(
        (select e.stage from ops.environments e where e.id = p_run.environment_id),
        p_run.params ->> 'stage',
        (select b.stage from ops.branches b where b.id = p_run.branch_id),
        'development'
    );
end
$$;
comment on function ops.stage_of_run(ops.runs) is
    'The stage whose rights count for a run: of its environment, else the one that it was queued for, else its branch''s.';

-- Whether who asks may put such a run into the queue. A branch is one of the same project, and a serial key holds up
-- nobody else's work.
create function ops.can_queue(p_project_id uuid, p_branch_id uuid, p_kind text, p_params jsonb, p_serial_key text)
returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_stage text;
begin
    -- The platform's own work is no project's run.
    if p_kind = 'maintenance' or not ops.can_push(p_project_id, coalesce(p_params ->> 'stage', 'development')) then
        return false;
    end if;
    if p_branch_id is null then
        return p_serial_key is null or starts_with(p_serial_key, 'project:' || p_project_id);
    end if;
    select b.stage into v_stage from ops.branches b
    where b.id = p_branch_id and b.project_id = p_project_id and b.deleted_at is null;
    return found and ops.can_push(p_project_id, v_stage)
        and (p_serial_key is null or p_serial_key = 'branch:' || p_branch_id);
end
$$;
comment on function ops.can_queue(uuid, uuid, text, jsonb, text) is
    'Whether who asks may queue such a run: by its stage, its branch''s project and stage, its kind and its serial key.';

grant execute on function ops.can_push(uuid, text), ops.can_destroy(uuid, text),
    ops.can_queue(uuid, uuid, text, jsonb, text)
to ops_web, ops_admin;

alter policy runs_insert on ops.runs with check (
    ops.can_queue(project_id, branch_id, kind, params, serial_key)
    and (requested_by is null or requested_by = ops.current_user_id() or ops.is_platform_admin())
);
alter policy environments_update on ops.environments using (ops.can_destroy(project_id, stage));

-- A branch's builds and environments go with it, production's environments but by hand.
create function ops.branch_deleted() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run uuid;
begin
    if not ops.can_destroy(new.project_id, new.stage) then
        raise exception 'your role in this project may not delete branches of this stage' using errcode = '42501';
    end if;
    -- First what is still built, and locked: what was published meanwhile is then seen as running.
    for v_run in
        select id from ops.runs where branch_id = new.id and status in ('queued', 'claimed', 'running')
        order by id for update
    loop
        perform ops.cancel_run(v_run);
    end loop;
    update ops.environments set state = 'destroying'
    where branch_id = new.id and stage <> 'production' and state in ('running', 'stopped', 'failed');
    return null;
end
$$;
create trigger branches_deleted after update of deleted_at on ops.branches
    for each row when (old.deleted_at is null and new.deleted_at is not null)
    execute function ops.branch_deleted();

alter table ops.schedules
    drop constraint schedules_platform_kind,
    add constraint schedules_platform_kind check ((project_id is null) = (kind = 'maintenance'));

comment on function ops.queue_run(text, text, text, text, jsonb, text) is
    'Queues a run for a project, given by slug or id; the same idempotency key gives the same run. '
    'Errors: P0002 unknown project; 42501 missing right; 22023 maintenance; 23514 bad kind, ref or commit.';

create or replace function ops.cancel_run(p_run_id uuid, p_superseded_by uuid default null) returns ops.runs
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
    if not ops.can_push(v_run.project_id, ops.stage_of_run(v_run)) then
        raise exception 'your role in this project may not cancel this run' using errcode = '42501';
    end if;
    if p_superseded_by is not null and not exists (
        select from ops.runs n where n.id = p_superseded_by and n.project_id = v_run.project_id
    ) then
        raise exception 'unknown run: %', p_superseded_by using errcode = 'P0002';
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

-- The audit log is written by the console, about who asks, now.
create function ops.audit(p_project_id uuid, p_action text, p_object_type text, p_object_id text, p_detail jsonb)
returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if session_user <> 'ops_web' and not ops.is_platform_admin() then
        raise exception 'only the console writes the audit log' using errcode = '42501';
    end if;
    if ops.current_user_id() is null then
        raise exception 'nobody asks' using errcode = '42501';
    end if;
    if p_project_id is not null and ops.project_role(p_project_id) is null then
        raise exception 'unknown project: %', p_project_id using errcode = 'P0002';
    end if;
    insert into ops.audit_log (user_id, project_id, action, object_type, object_id, outcome, detail)
    values (ops.current_user_id(), p_project_id, p_action, p_object_type, p_object_id, 'allowed', coalesce(p_detail, '{}'));
end
$$;
comment on function ops.audit(uuid, text, text, text, jsonb) is
    'Writes down what who asks has done. Errors: P0002 unknown project; 42501 not the console, or nobody asks.';
grant execute on function ops.audit(uuid, text, text, text, jsonb) to ops_web, ops_admin;
revoke insert on ops.audit_log from ops_web, ops_worker, ops_admin;
drop policy audit_log_worker_insert on ops.audit_log;
alter policy audit_log_insert on ops.audit_log with check (false);

reset role;
