set role ops_owner;

-- One notification per statement and project: PostgreSQL drops equal ones within a transaction.
create function ops.notify_runs() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform pg_notify('ops_board', changed.project_id::text) from (select distinct project_id from changed) changed;
    perform pg_notify('ops_run_changed', id::text) from changed;
    perform pg_notify('ops_run', project_id::text)
    from (select distinct project_id from changed where status = 'queued') queued;
    return null;
end
$$;
create trigger runs_inserted after insert on ops.runs
    referencing new table as changed for each statement execute function ops.notify_runs();
-- Heartbeats renew leases every two seconds: what people do not see is not announced.
create function ops.notify_updated_runs() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_run record;
begin
    for v_run in
        select c.id, c.project_id, c.status = 'queued' and b.status <> 'queued' as requeued
        from changed c join before b on b.id = c.id
        where (c.status, c.step, c.environment_id, c.cancel_requested_at, c.superseded_by, c.error_message)
            is distinct from (b.status, b.step, b.environment_id, b.cancel_requested_at, b.superseded_by, b.error_message)
    loop
        perform pg_notify('ops_board', v_run.project_id::text);
        perform pg_notify('ops_run_changed', v_run.id::text);
        if v_run.requeued then
            perform pg_notify('ops_run', v_run.project_id::text);
        end if;
    end loop;
    return null;
end
$$;
create trigger runs_updated after update on ops.runs
    referencing old table as before new table as changed
    for each statement execute function ops.notify_updated_runs();

create function ops.notify_board() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform pg_notify('ops_board', changed.project_id::text) from (select distinct project_id from changed) changed;
    if tg_table_name = 'environments' then
        perform pg_notify('ops_routes', '');
    end if;
    return null;
end
$$;
create trigger branches_inserted after insert on ops.branches
    referencing new table as changed for each statement execute function ops.notify_board();
create trigger branches_updated after update on ops.branches
    referencing new table as changed for each statement execute function ops.notify_board();
create trigger environments_inserted after insert on ops.environments
    referencing new table as changed for each statement execute function ops.notify_board();
create trigger environments_updated after update on ops.environments
    referencing new table as changed for each statement execute function ops.notify_board();

create function ops.notify_projects() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform pg_notify('ops_projects', '');
    return null;
end
$$;
create trigger projects_changed after insert or update on ops.projects
    for each statement execute function ops.notify_projects();

reset role;
