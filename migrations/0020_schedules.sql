set role ops_owner;

-- Which of several processes does what only one may do. A row, not an advisory lock: connection poolers hand sessions
-- around. `lease` only grows, and fences whoever was thought dead.
create table ops.leaders (
    name text primary key check (length(name) between 1 and 100),
    holder text not null check (length(holder) between 1 and 200),
    lease bigint not null,
    since timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null
) with (fillfactor = 50);
comment on column ops.leaders.since is 'Since when this holder leads.';

create table ops.schedules (
    id uuid primary key default ops.uuid_v7(),
    -- Null: the platform's own.
    project_id uuid references ops.projects (id) on delete cascade,
    name text not null,
    cron text not null,
    time_zone text not null default 'UTC',
    kind text not null,
    params jsonb not null default '{}',
    enabled boolean not null default true,
    -- Came with the platform: may be changed and stopped, not deleted.
    built_in boolean not null default false,
    last_due_at timestamptz,
    last_run_id uuid references ops.runs (id) on delete set null,
    next_due_at timestamptz,
    error text,
    created_by uuid references ops.users (id) on delete set null,
    created_at timestamptz not null default now(),
    constraint schedules_name_key unique nulls not distinct (project_id, name),
    constraint schedules_name_length check (length(name) between 1 and 100 and name !~ '[[:cntrl:]]'),
    constraint schedules_cron_length check (length(cron) between 1 and 200 and cron !~ '[[:cntrl:]]'),
    constraint schedules_time_zone_length check (length(time_zone) between 1 and 64),
    constraint schedules_kind check (
        kind in ('build', 'test', 'deploy', 'backup', 'restore', 'clone', 'upgrade', 'move', 'maintenance')
    ),
    constraint schedules_platform_kind check (project_id is not null or kind = 'maintenance'),
    constraint schedules_next_due_at check (enabled or next_due_at is null)
);
comment on column ops.schedules.cron is 'Minute, hour, day of month, month, day of week; read in time_zone.';
comment on column ops.schedules.next_due_at is 'Null: not due, or not computed yet; the leader does that within seconds.';
comment on column ops.schedules.error is 'Why it is never due: cron or time zone do not read. Null once they are changed.';
create index schedules_due on ops.schedules (next_due_at) where enabled;
create index schedules_last_run_id on ops.schedules (last_run_id) where last_run_id is not null;
create index schedules_created_by on ops.schedules (created_by) where created_by is not null;

-- Each time a schedule was due, or was asked for: what came of it. A project's work becomes a run in the queue; the
-- platform's own has no project and is done by the leader, from here.
create table ops.schedule_runs (
    id uuid primary key default ops.uuid_v7(),
    schedule_id uuid not null references ops.schedules (id) on delete cascade,
    project_id uuid references ops.projects (id) on delete cascade,
    due_at timestamptz not null,
    -- How many times it had been due since, all made up for by this one.
    missed integer not null default 0 check (missed >= 0),
    state text not null,
    run_id uuid references ops.runs (id) on delete set null,
    requested_by uuid references ops.users (id) on delete set null,
    lease bigint,
    attempt integer not null default 0,
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    result jsonb not null default '{}',
    error text,
    constraint schedule_runs_key unique (schedule_id, due_at),
    constraint schedule_runs_state check (
        state in ('queued', 'skipped', 'waiting', 'running', 'succeeded', 'failed')
    )
);
comment on column ops.schedule_runs.state is
    'Of a project: queued (see run_id) or skipped (see error). Of the platform: waiting, running, succeeded, failed.';
create index schedule_runs_project_id on ops.schedule_runs (project_id) where project_id is not null;
create index schedule_runs_run_id on ops.schedule_runs (run_id) where run_id is not null;
create index schedule_runs_requested_by on ops.schedule_runs (requested_by) where requested_by is not null;
create index schedule_runs_unfinished on ops.schedule_runs (due_at) where state in ('waiting', 'running');

do $$
declare
    t text;
begin
    foreach t in array array['leaders', 'schedules', 'schedule_runs'] loop
        execute format('alter table ops.%I enable row level security', t);
        execute format('alter table ops.%I force row level security', t);
        execute format('create policy %I on ops.%I for all to ops_owner using (true) with check (true)', t || '_owner', t);
        execute format('create policy %I on ops.%I for select to ops_worker using (true)', t || '_worker_select', t);
        execute format('grant select on ops.%I to ops_web, ops_worker, ops_admin', t);
    end loop;
    -- Of the platform, written by functions and by the owner.
    create policy leaders_select on ops.leaders for select to public using ((select ops.is_platform_admin()));
    -- A project's are seen by its members, the platform's by its administrators.
    foreach t in array array['schedules', 'schedule_runs'] loop
        execute format(
            'create policy %I on ops.%I for select to public using (
                 (select ops.is_platform_admin()) or project_id = any (array(select ops.visible_projects())))',
            t || '_select', t
        );
    end loop;
    foreach t in array array['leaders', 'schedule_runs'] loop
        execute format('create policy %I on ops.%I for insert to public with check (false)', t || '_insert', t);
        execute format('create policy %I on ops.%I for update to public using (false)', t || '_update', t);
        execute format('create policy %I on ops.%I for delete to public using (false)', t || '_delete', t);
    end loop;
end
$$;
create policy schedules_insert on ops.schedules for insert to public with check (
    not built_in
    and created_by is not distinct from (select ops.current_user_id())
    and ((select ops.is_platform_admin()) or project_id = any (array(select ops.administered_projects())))
);
create policy schedules_update on ops.schedules for update to public using (
    (select ops.is_platform_admin()) or project_id = any (array(select ops.administered_projects()))
);
create policy schedules_delete on ops.schedules for delete to public using (
    not built_in
    and ((select ops.is_platform_admin()) or project_id = any (array(select ops.administered_projects())))
);
-- What was due when is written by functions only.
grant insert (id, project_id, name, cron, time_zone, kind, params, enabled, next_due_at, created_by),
      update (name, cron, time_zone, params, enabled, next_due_at), delete
    on ops.schedules to ops_web, ops_admin;

-- What a schedule does may be what was wrong with it, too.
create function ops.schedule_changed() returns trigger
language plpgsql
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if not new.enabled then
        new.next_due_at := null;
    end if;
    if (new.cron, new.time_zone, new.enabled, new.params)
        is distinct from (old.cron, old.time_zone, old.enabled, old.params)
    then
        new.error := null;
        if new.next_due_at is not distinct from old.next_due_at
            and (new.cron, new.time_zone, new.enabled) is distinct from (old.cron, old.time_zone, old.enabled)
        then
            new.next_due_at := null;
        end if;
    end if;
    return new;
end
$$;
create trigger schedules_changed before update on ops.schedules
    for each row execute function ops.schedule_changed();

-- Leading ---------------------------------------------------------------------------------------------------------

-- Other machines of the installation lead nothing.
create function ops.require_leading_worker() returns void
language plpgsql stable
as $$
begin
    perform ops.require_worker();
    if starts_with(session_user, 'ops_host_') then
        raise exception 'a joined host leads nothing' using errcode = '42501';
    end if;
end
$$;

create function ops.lead(p_name text, p_holder text, p_lease bigint default null) returns bigint
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_now ops.leaders;
    v_lease bigint;
begin
    perform ops.require_leading_worker();
    select * into v_now from ops.leaders where name = p_name;
    if v_now.lease = p_lease then
        -- Written every few seconds, not at every question.
        if v_now.expires_at > clock_timestamp() + interval '10 seconds' then
            return p_lease;
        end if;
        update ops.leaders set expires_at = clock_timestamp() + interval '15 seconds'
        where name = p_name and lease = p_lease returning lease into v_lease;
        if v_lease is not null then
            return v_lease;
        end if;
    elsif v_now.expires_at > clock_timestamp() then
        return null;
    end if;
    insert into ops.leaders as l (name, holder, lease, expires_at)
    values (p_name, p_holder, nextval('ops.lease_seq'), clock_timestamp() + interval '15 seconds')
    on conflict (name) do update
        set holder = excluded.holder, lease = excluded.lease, since = excluded.since, expires_at = excluded.expires_at
        where l.expires_at <= clock_timestamp()
    returning lease into v_lease;
    return v_lease;
end
$$;
comment on function ops.lead(text, text, bigint) is
    'Takes or keeps the lead for 15 seconds; returns the lease, null when another holds it. Error: 42501 missing right.';

create function ops.resign(p_name text, p_lease bigint) returns boolean
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_leading_worker();
    update ops.leaders set expires_at = clock_timestamp() where name = p_name and lease = p_lease;
    return found;
end
$$;
comment on function ops.resign(text, bigint) is
    'Gives up the lead, so that another need not wait. Error: 42501 missing right.';

-- Nobody else can take the lead before this transaction ends.
create function ops.require_leader(p_name text, p_lease bigint) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_leading_worker();
    perform from ops.leaders where name = p_name and lease = p_lease for share;
    if not found then
        raise exception 'lease lost: another process leads %', p_name using errcode = '55000';
    end if;
end
$$;

-- Schedules -------------------------------------------------------------------------------------------------------

-- Does what a schedule is for: queues its run, or notes why not. Within the caller's transaction.
create function ops.perform_schedule(
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
                                  idempotency_key, requested_by)
            values (p_schedule.project_id, v_branch.id, 'build', 'refs/heads/' || v_branch.name, v_branch.head_sha,
                    jsonb_build_object('stage', v_branch.stage, 'commit_subject', v_branch.head_subject,
                                       'commit_author', v_branch.head_author, 'schedule_id', p_schedule.id),
                    'branch:' || v_branch.id, v_key, coalesce(p_requested_by, p_schedule.created_by))
            returning id into v_run;
        end if;
    else
        -- No commit is concerned; git writes that as zeros.
        insert into ops.runs (project_id, kind, git_ref, commit_sha, params, idempotency_key, requested_by)
        values (p_schedule.project_id, p_schedule.kind, 'HEAD', repeat('0', 40),
                p_schedule.params || jsonb_build_object('schedule_id', p_schedule.id), v_key,
                coalesce(p_requested_by, p_schedule.created_by))
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

create function ops.fire_schedule(
    p_schedule_id uuid, p_due_at timestamptz, p_next_due_at timestamptz, p_missed integer, p_lease bigint
) returns setof ops.schedule_runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_schedule ops.schedules;
    v_done ops.schedule_runs;
begin
    perform ops.require_leader('schedules', p_lease);
    select * into v_schedule from ops.schedules where id = p_schedule_id for update;
    -- Changed, stopped or deleted since it was looked at.
    if v_schedule.id is null or not v_schedule.enabled or v_schedule.next_due_at is distinct from p_due_at then
        return;
    end if;
    if p_due_at > clock_timestamp() or p_next_due_at <= p_due_at then
        raise exception 'the schedule is not due' using errcode = '22023';
    end if;
    if exists (select from ops.projects p where p.id = v_schedule.project_id and p.archived_at is not null) then
        update ops.schedules set next_due_at = p_next_due_at where id = p_schedule_id;
        return;
    end if;
    v_done := ops.perform_schedule(v_schedule, p_due_at, p_missed, null);
    update ops.schedules
    set next_due_at = p_next_due_at, last_due_at = p_due_at,
        last_run_id = case when v_done.state = 'queued' then v_done.run_id else last_run_id end
    where id = p_schedule_id;
    return next v_done;
end
$$;
comment on function ops.fire_schedule(uuid, timestamptz, timestamptz, integer, bigint) is
    'Queues what is due and moves the schedule on, both or neither; no row when it is not due as said. '
    'Errors: 42501 missing right; 55000 lease lost; 22023 not due yet.';

create function ops.set_next_due(
    p_schedule_id uuid, p_cron text, p_time_zone text, p_next_due_at timestamptz, p_error text, p_lease bigint
) returns boolean
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_leader('schedules', p_lease);
    update ops.schedules set next_due_at = p_next_due_at, error = p_error
    where id = p_schedule_id and enabled and cron = p_cron and time_zone = p_time_zone;
    return found;
end
$$;
comment on function ops.set_next_due(uuid, text, text, timestamptz, text, bigint) is
    'Says when a schedule that was written without it is due, or why never. '
    'Errors: 42501 missing right; 55000 lease lost.';

create function ops.run_schedule(p_schedule_id uuid) returns ops.schedule_runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_schedule ops.schedules;
    v_done ops.schedule_runs;
begin
    select * into v_schedule from ops.schedules where id = p_schedule_id for update;
    if v_schedule.id is null
        or not (ops.is_platform_admin() or coalesce(ops.can_view_project(v_schedule.project_id), false))
    then
        raise exception 'unknown schedule: %', p_schedule_id using errcode = 'P0002';
    end if;
    if not (ops.is_platform_admin() or ops.can_administer_project(v_schedule.project_id)) then
        raise exception 'your role in this project may not run schedules' using errcode = '42501';
    end if;
    if exists (select from ops.projects p where p.id = v_schedule.project_id and p.archived_at is not null) then
        raise exception 'wrong state: the project is archived' using errcode = '55000';
    end if;
    v_done := ops.perform_schedule(v_schedule, clock_timestamp(), 0, ops.current_user_id());
    if v_done.state = 'queued' then
        update ops.schedules set last_run_id = v_done.run_id where id = p_schedule_id;
    end if;
    return v_done;
end
$$;
comment on function ops.run_schedule(uuid) is
    'Does now what the schedule is for; when it is due next does not change. '
    'Errors: P0002 unknown schedule; 42501 missing right; 55000 the project is archived.';

-- The platform's own work -----------------------------------------------------------------------------------------

create function ops.claim_schedule_run(p_lease bigint) returns setof ops.schedule_runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_leader('schedules', p_lease);
    -- Three leaders died of it, or with it.
    update ops.schedule_runs set state = 'failed', error = 'leader lost', finished_at = clock_timestamp()
    where state = 'running' and lease is distinct from p_lease and attempt >= 3;
    return query
        update ops.schedule_runs
        set state = 'running', lease = p_lease, attempt = attempt + 1, started_at = clock_timestamp()
        where id = (
            select w.id from ops.schedule_runs w
            where w.state = 'waiting' or (w.state = 'running' and w.lease is distinct from p_lease)
            order by w.due_at, w.id limit 1 for update
        )
        returning *;
end
$$;
comment on function ops.claim_schedule_run(bigint) is
    'The platform''s oldest work that waits, or that an earlier leader left unfinished. '
    'Errors: 42501 missing right; 55000 lease lost.';

create function ops.finish_schedule_run(p_id uuid, p_lease bigint, p_result jsonb, p_error text)
returns ops.schedule_runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_done ops.schedule_runs;
begin
    perform ops.require_leader('schedules', p_lease);
    update ops.schedule_runs
    set state = case when p_error is null then 'succeeded' else 'failed' end, error = left(p_error, 4000),
        result = coalesce(p_result, '{}'), finished_at = clock_timestamp()
    where id = p_id and state = 'running' and lease = p_lease returning * into v_done;
    if v_done.id is null then
        raise exception 'wrong state: the work is not held under this lease' using errcode = '55000';
    end if;
    return v_done;
end
$$;
comment on function ops.finish_schedule_run(uuid, bigint, jsonb, text) is
    'Records how the platform''s work ended. Errors: 42501 missing right; 55000 lease lost or wrong state.';

grant execute on function
    ops.lead(text, text, bigint), ops.resign(text, bigint),
    ops.fire_schedule(uuid, timestamptz, timestamptz, integer, bigint),
    ops.set_next_due(uuid, text, text, timestamptz, text, bigint),
    ops.claim_schedule_run(bigint), ops.finish_schedule_run(uuid, bigint, jsonb, text)
to ops_worker, ops_admin;
grant execute on function ops.run_schedule(uuid) to ops_web, ops_admin;

reset role;
