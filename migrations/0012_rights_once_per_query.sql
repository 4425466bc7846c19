set role ops_owner;

-- Asked once per query, not once per row: a log has a hundred thousand rows.
create function ops.visible_projects() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select m.project_id from ops.project_memberships m
    join ops.users u on u.id = m.user_id and u.disabled_at is null
    where m.user_id = ops.current_user_id()
$$;
grant execute on function ops.visible_projects() to ops_web, ops_worker, ops_admin;

-- The sub-selects depend on nothing in the row, so that the planner runs each of them once and first.
do $$
declare
    t text;
begin
    foreach t in array array['branches', 'environments', 'runs', 'run_events', 'run_logs', 'run_log_heads'] loop
        execute format(
            'alter policy %I on ops.%I using (
                 (select ops.is_platform_admin()) or project_id = any (array(select ops.visible_projects())))',
            t || '_select', t
        );
    end loop;
end
$$;
alter policy projects_select on ops.projects using (
    (select ops.is_platform_admin()) or id = any (array(select ops.visible_projects()))
);

reset role;
