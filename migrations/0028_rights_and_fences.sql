set role ops_owner;

-- What the holder of the lease asks for is one statement, fenced in its condition. Only who is refused, or shows no
-- lease, makes it look why. The condition is a CASE, which the planner does not look into: a young database would be
-- read by the index of what is under way, which still has an entry for all that its worker ever held while a long
-- transaction keeps dead rows alive.
create or replace function ops.start_workflow_run(p_run_id uuid, p_worker_id text, p_lease bigint) returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs;
begin
    if not ops.is_worker() then
        perform ops.require_worker();
    end if;
    if p_lease is null then
        perform ops.fenced_run(p_run_id, null);
    end if;
    update ops.runs set status = 'running', started_at = coalesce(started_at, clock_timestamp())
    where id = p_run_id
      and case when status = 'claimed' and worker_id = p_worker_id then lease = p_lease or p_lease is null else false end
    returning * into v_run;
    if v_run.id is not null then
        insert into ops.run_events (run_id, project_id, type, payload)
        values (v_run.id, v_run.project_id, 'started', jsonb_build_object('worker', p_worker_id));
        return v_run;
    end if;
    v_run := ops.fenced_run(p_run_id, p_lease);
    if v_run.status not in ('claimed', 'running') then
        raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
    end if;
    if v_run.worker_id is distinct from p_worker_id then
        raise exception 'the run is held by another worker' using errcode = '55006';
    end if;
    return v_run;
end
$$;
comment on function ops.start_workflow_run(uuid, text, bigint) is
    'claimed -> running, once; again it changes nothing. '
    'Errors: P0002 unknown run; 55000 lease lost, lease required or wrong state; 55006 held by another worker; '
    '42501 missing right.';

create or replace function ops.finish_run(
    p_run_id uuid, p_lease bigint, p_status text, p_exit_code integer, p_error_message text
) returns ops.runs
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run ops.runs;
begin
    if not ops.is_worker() then
        perform ops.require_worker();
    end if;
    if p_status is null or p_status not in ('succeeded', 'warning', 'failed', 'timed_out', 'canceled') then
        raise exception 'a run cannot finish as %', p_status using errcode = '22023';
    end if;
    if p_lease is null then
        perform ops.fenced_run(p_run_id, null);
    end if;
    update ops.runs
    set status = case when p_status = 'canceled' and superseded_by is not null then 'superseded' else p_status end,
        exit_code = p_exit_code, error_message = left(p_error_message, 4000),
        finished_at = clock_timestamp(), lease_expires_at = null, step = null
    where id = p_run_id
      and case
          when status = 'running' then lease = p_lease or p_lease is null
          -- Nothing succeeds that did not begin.
          when status = 'claimed' and p_status not in ('succeeded', 'warning') then lease = p_lease or p_lease is null
          else false
      end
    returning * into v_run;
    if v_run.id is not null then
        insert into ops.run_events (run_id, project_id, type, payload)
        values (v_run.id, v_run.project_id, v_run.status,
                jsonb_strip_nulls(jsonb_build_object('exit_code', p_exit_code, 'error', left(p_error_message, 4000))));
        return v_run;
    end if;
    v_run := ops.fenced_run(p_run_id, p_lease);
    -- The same word again changes nothing; another word comes too late.
    if v_run.status = p_status or (p_status = 'canceled' and v_run.status = 'superseded') then
        return v_run;
    end if;
    raise exception 'wrong state: the run is %', v_run.status using errcode = '55000';
end
$$;
comment on function ops.finish_run(uuid, bigint, text, integer, text) is
    'The end of a run, once; the same end again changes nothing. Success only from running. '
    'Errors: P0002 unknown run; 55000 lease lost, lease required or wrong state; 22023 no such end; 42501 missing right.';

-- Members may be PostgREST's or psql's users: what a run and an environment became is written by functions that check
-- the state and the lease, whoever asks. Locking a row needs the right to update some column of it.
revoke insert, update on ops.runs from ops_web;
grant insert (id, project_id, branch_id, workflow_id, kind, git_ref, commit_sha, params, serial_key, idempotency_key,
              requested_by),
      update (workflow_id)
    on ops.runs to ops_web;
alter policy runs_insert on ops.runs
    with check (
        ops.can_write_project(project_id)
        and (requested_by is null or requested_by = ops.current_user_id() or ops.is_platform_admin())
    );
revoke insert, update on ops.environments from ops_web;
grant update (state) on ops.environments to ops_web;
revoke insert on ops.run_events from ops_web, ops_worker;

-- A default partition is asked through its table only.
do $$
declare
    v_partition regclass;
begin
    for v_partition in
        select c.oid from pg_catalog.pg_class c
        where c.relnamespace = 'ops'::regnamespace and c.relispartition and c.relkind = 'r'
    loop
        execute format('revoke all on %s from ops_web, ops_worker, ops_admin', v_partition);
    end loop;
end
$$;

-- What each function that a role may call does, and says when it does not.
comment on function ops.uuid_v7() is 'A UUIDv7 of now.';
comment on function ops.is_platform_admin() is 'Whether who asks passes every right check: a member of ops_admin, or a user who is platform administrator.';
comment on function ops.project_role(uuid) is 'The role of who asks in the project; null for strangers, owner for platform administrators.';
comment on function ops.can_view_project(uuid) is 'Whether who asks has a role in the project.';
comment on function ops.can_write_project(uuid) is 'Whether who asks is more than a viewer in the project.';
comment on function ops.can_administer_project(uuid) is 'Whether who asks is owner or admin of the project.';
comment on function ops.visible_projects() is 'Projects in which who asks has a role.';
comment on function ops.administered_projects() is 'Projects of which who asks is owner or admin.';
comment on function ops.closed_kinds() is 'Kinds of which as many runs are under way as may be.';
comment on function ops.session_host() is 'The host whose login this session is; null for every other.';
comment on function ops.is_own_host(uuid) is 'False for a joined host''s login that asks about another host.';
comment on function ops.node_host(text) is 'The host with this certificate, unless it is revoked.';
comment on function ops.node_may_fetch(uuid, uuid) is 'Whether the host is at work on a run of the project.';
comment on function ops.require_platform_admin() is 'Passes for platform administrators. Error: 42501 missing right.';
comment on function ops.claim_next_run(text) is
    'Hands the next runnable run to exactly one worker, under a new lease of thirty seconds; no row when there is none. '
    'A worker that is not in ops.workers is served all kinds without limits. Error: 42501 missing right.';
comment on function ops.start_workflow_run(uuid, text) is
    'The same under the run''s first lease, for a person or a simple client. '
    'Errors: P0002 unknown run; 55000 lease lost, lease required or wrong state; 55006 held by another worker; '
    '42501 missing right.';
comment on function ops.retry_run(uuid, bigint, text, interval) is
    'This attempt failed: the run is tried again after the delay; after the third it fails with the reason, and where '
    'that was asked for it is canceled. Errors: P0002 unknown run; 55000 lease lost or wrong state; 42501 missing right.';
comment on function ops.release_worker_runs(text) is
    'Lets go of all runs that the worker holds, as if their leases had run out; returns how many. Error: 42501 missing right.';
comment on function ops.append_event(uuid, text, jsonb, bigint) is
    'Appends to run_events and returns the event''s id; step_started moves the run''s step too. '
    'Errors: P0002 unknown run; 55000 lease lost; 23514 bad type; 42501 missing right.';
comment on function ops.append_event(uuid, text, jsonb) is
    'The same under the run''s first lease, for a person or a simple client. '
    'Errors: P0002 unknown run; 55000 lease lost, lease required or wrong state; 23514 bad type; 42501 missing right.';
comment on function ops.append_run_log(uuid, text, text, jsonb, bigint) is
    'Appends one line and returns its sequence. '
    'Errors: P0002 unknown run; 55000 lease lost; 22023 bad level or no message; 54000 output limit; 42501 missing right.';
comment on function ops.append_run_log(uuid, text, text, jsonb) is
    'The same under the run''s first lease, for a person or a simple client. '
    'Errors: P0002 unknown run; 55000 lease lost, lease required or wrong state; 22023 bad level or no message; '
    '54000 output limit; 42501 missing right.';
comment on function ops.append_run_logs(uuid, text, text[], text[], bigint) is
    'Appends lines and returns the sequence of the last. '
    'Errors: P0002 unknown run; 55000 lease lost; 22023 bad level, no message or lengths that differ; 54000 output limit; '
    '42501 missing right.';
comment on function ops.add_run_artifact(uuid, text, text, text, text, bigint, timestamptz, bigint) is
    'Records an artifact, or replaces the one of that key; returns its id. '
    'Errors: P0002 unknown run; 55000 lease lost; 23514 bad size; 42501 missing right.';
comment on function ops.add_run_artifact(uuid, text, text, text, text, bigint, timestamptz) is
    'The same under the run''s first lease, for a person or a simple client. '
    'Errors: P0002 unknown run; 55000 lease lost, lease required or wrong state; 23514 bad size; 42501 missing right.';
comment on function ops.list_queued_runs() is 'The queue as an administrator sees it. Error: 42501 missing right.';
comment on function ops.cancel_run(uuid, uuid) is
    'Ends a queued run at once; asks the worker of one that is under way to end it, within two seconds. With a second '
    'run it is superseded by that. Errors: P0002 unknown run; 42501 missing right; 55000 wrong state.';
comment on function ops.set_output_limit(uuid, bigint) is
    'How many bytes the run may print; null lifts the limit. Error: 42501 missing right.';
comment on function ops.open_log_source(uuid, text, text, text) is
    'Takes the collector''s lease of a container''s output, from another collector too; returns where to read on. '
    'Error: 42501 missing right.';
comment on function ops.append_log_batch(uuid, bigint, text[], text[], boolean[], timestamptz[], jsonb) is
    'Appends lines and moves the position in the output with them; returns the sequence of the last. '
    'Errors: 55000 lease lost; 22023 bad level or no message; 54000 output limit; 42501 missing right.';
comment on function ops.close_log_source(uuid, bigint) is
    'The container''s output has ended; false when the lease is lost. Error: 42501 missing right.';
comment on function ops.store_log_lines(
    uuid, uuid, bigint, bigint, text, text[], text[], boolean[], timestamptz[], jsonb[], timestamptz
) is 'Writes lines as chunks; called by the functions that append and by who merges. Error: 22023 bad level.';
comment on function ops.rewrite_log_chunks(uuid, bigint, bigint) is
    'Puts the lines of small chunks into large ones. Error: XX001 lines are missing.';
comment on function ops.platform_administrator() is
    'The administrator as whom the server''s own socket acts; made at first use. Error: 42501 not the console.';
comment on function ops.create_login_link(bytea) is
    'A link, known by its SHA-256, that signs the administrator in once within 15 minutes. '
    'Errors: 42501 not the console, or missing right; 23514 no SHA-256; 23505 there already.';
comment on function ops.create_session(bytea, bytea, text, text) is
    'Redeems a link, once, for a session; null when the link is unknown, used or old. '
    'Errors: 42501 not the console; 23514 no SHA-256.';
comment on function ops.session_user_of(bytea) is
    'Who holds the session; no row when it has ended. Error: 42501 not the console.';
comment on function ops.end_session(bytea) is 'Signs out; false when there was no session. Error: 42501 not the console.';
comment on function ops.create_api_token(text, bytea, timestamptz) is
    'A token of who asks, known by its SHA-256. Errors: 42501 nobody asks; 23514 bad name or no SHA-256; 23505 there already.';
comment on function ops.token_user(bytea) is
    'Whose token it is; no row when it was revoked or has expired. Error: 42501 not the console.';
comment on function ops.projects_to_reconcile() is
    'Every project with its repository, for the comparison with its branches. Error: 42501 not the console.';

reset role;
