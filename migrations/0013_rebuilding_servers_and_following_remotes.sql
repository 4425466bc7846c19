set role ops_owner;

-- What a server was started from, so that one whose container is gone can be started again.
alter table ops.environments add column image text;
comment on column ops.environments.image is 'The image that the server runs: the platform''s, or one with the commit''s Python requirements.';

-- How following a repository elsewhere goes.
alter table ops.projects add column fetched_at timestamptz, add column fetch_error text;
comment on column ops.projects.fetched_at is 'When the remote repository was last fetched without an error.';
comment on column ops.projects.fetch_error is 'Why the last fetch failed; null when it did not.';
-- Not at every fetch: who looks at the list of projects would load it every minute.
drop trigger projects_changed on ops.projects;
create trigger projects_changed
    after insert or update of slug, name, odoo_series, image, remote_url, archived_at on ops.projects
    for each statement execute function ops.notify_projects();

-- A worker that is told to stop gives its runs back. That was a claim, but no attempt that failed.
alter table ops.runs add column handed_back integer not null default 0;
comment on column ops.runs.handed_back is 'How many of its claims ended because the worker was told to stop.';

-- The build that waits already and would replace what this one makes: then this one is not tried again. Production
-- finishes what it began, then takes only the newest.
create function ops.replacement_of(p_run ops.runs) returns uuid
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select n.id from ops.runs n
    where n.serial_key = p_run.serial_key and n.status = 'queued' and n.kind = p_run.kind
      and n.params ->> 'stage' is not distinct from p_run.params ->> 'stage'
      and (n.queued_at, n.id) > (p_run.queued_at, p_run.id)
    order by n.queued_at desc, n.id desc limit 1
$$;

-- Back to the queue, or out of the way of a newer one. The caller has locked the run.
create function ops.queue_again(p_run ops.runs, p_event text, p_reason text, p_delay interval) returns ops.runs
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
        run_after = clock_timestamp() + p_delay
    where id = p_run.id returning * into v_run;
    insert into ops.run_events (run_id, project_id, type, payload)
    values (v_run.id, v_run.project_id, case when v_replacement is null then p_event else 'superseded' end,
            jsonb_build_object('reason', left(p_reason, 4000), 'worker', p_run.worker_id,
                               'attempt', v_run.attempt - v_run.handed_back));
    return v_run;
end
$$;

-- What a worker gives back: canceled where that was asked for, failed after three attempts, else queued again.
create function ops.give_back(p_run_id uuid, p_lease bigint, p_event text, p_reason text, p_delay interval)
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
    if p_event = 'retried' and v_run.attempt - v_run.handed_back >= 3 then
        return ops.finish_run(p_run_id, p_lease, 'failed', null, p_reason);
    end if;
    return ops.queue_again(v_run, p_event, p_reason, p_delay);
end
$$;

create function ops.hand_back_run(p_run_id uuid, p_lease bigint, p_reason text) returns ops.runs
language sql security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select ops.give_back(p_run_id, p_lease, 'handed_back', p_reason, interval '0') $$;
comment on function ops.hand_back_run(uuid, bigint, text) is
    'The worker gives the run back: it is tried again, as often as that happens. '
    'Errors: P0002 unknown run; 55000 wrong state or lease lost; 42501 missing right.';
grant execute on function ops.hand_back_run(uuid, bigint, text) to ops_worker, ops_admin;

create or replace function ops.retry_run(
    p_run_id uuid, p_lease bigint, p_reason text, p_delay interval default '5 seconds'
) returns ops.runs
language sql security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select ops.give_back(p_run_id, p_lease, 'retried', p_reason, p_delay) $$;

create or replace function ops.requeue_lost_runs() returns integer
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
    return v_count;
end
$$;

reset role;
