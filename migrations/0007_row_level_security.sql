set role ops_owner;

-- Enabled and forced everywhere; the functions' owner and the workers pass, everyone else sees what their
-- membership allows.
do $$
declare
    t text;
begin
    for t in
        select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'ops' and c.relkind in ('r', 'p')
    loop
        execute format('alter table ops.%I enable row level security', t);
        execute format('alter table ops.%I force row level security', t);
        execute format('create policy %I on ops.%I for all to ops_owner using (true) with check (true)', t || '_owner', t);
    end loop;
end
$$;

grant select on all tables in schema ops to ops_web, ops_worker, ops_admin;
-- Hashes of credentials are read by SECURITY DEFINER functions only.
revoke all on ops.sessions, ops.login_links, ops.api_tokens from ops_web, ops_worker, ops_admin;
grant select (id, user_id, provider, created_at, last_seen_at, expires_at, address, agent)
    on ops.sessions to ops_web, ops_admin;
grant select (id, user_id, name, created_at, expires_at, last_used_at, revoked_at), update (revoked_at)
    on ops.api_tokens to ops_web, ops_admin;

grant insert, update on ops.projects, ops.branches, ops.environments, ops.runs to ops_web, ops_admin;
grant insert, update, delete on ops.project_memberships to ops_web, ops_admin;
grant insert on ops.run_events, ops.audit_log to ops_web, ops_worker, ops_admin;
grant usage on sequence ops.run_events_id_seq, ops.audit_log_id_seq to ops_web, ops_worker, ops_admin;
grant insert, update on ops.users to ops_admin;
grant insert, update on ops.environments, ops.hosts, ops.workers to ops_worker;
grant delete on ops.workers to ops_worker;
-- All else of a run is written by functions that check the lease.
grant update (environment_id) on ops.runs to ops_worker;

-- Installation: its id is no secret.
create policy installation_select on ops.installation for select to public using (true);

create policy users_select on ops.users for select to public
    using (
        id = ops.current_user_id() or ops.is_platform_admin()
        or exists (
            select 1 from ops.project_memberships m
            where m.user_id = users.id and ops.can_view_project(m.project_id)
        )
    );
create policy users_insert on ops.users for insert to public with check (ops.is_platform_admin());
create policy users_update on ops.users for update to public using (ops.is_platform_admin());
create policy users_delete on ops.users for delete to public using (false);

create policy projects_select on ops.projects for select to public using (ops.can_view_project(id));
create policy projects_insert on ops.projects for insert to public with check (ops.is_platform_admin());
create policy projects_update on ops.projects for update to public using (ops.can_administer_project(id));
create policy projects_delete on ops.projects for delete to public using (false);

create policy project_memberships_select on ops.project_memberships for select to public
    using (user_id = ops.current_user_id() or ops.can_view_project(project_id));
create policy project_memberships_insert on ops.project_memberships for insert to public
    with check (ops.can_administer_project(project_id));
create policy project_memberships_update on ops.project_memberships for update to public
    using (ops.can_administer_project(project_id));
create policy project_memberships_delete on ops.project_memberships for delete to public
    using (ops.can_administer_project(project_id));

create policy sessions_select on ops.sessions for select to public
    using (user_id = ops.current_user_id() or ops.is_platform_admin());
create policy sessions_insert on ops.sessions for insert to public with check (false);
create policy sessions_update on ops.sessions for update to public using (false);
create policy sessions_delete on ops.sessions for delete to public using (false);

create policy login_links_select on ops.login_links for select to public using (false);
create policy login_links_insert on ops.login_links for insert to public with check (false);
create policy login_links_update on ops.login_links for update to public using (false);
create policy login_links_delete on ops.login_links for delete to public using (false);

create policy api_tokens_select on ops.api_tokens for select to public
    using (user_id = ops.current_user_id() or ops.is_platform_admin());
create policy api_tokens_insert on ops.api_tokens for insert to public with check (false);
create policy api_tokens_update on ops.api_tokens for update to public
    using (user_id = ops.current_user_id() or ops.is_platform_admin());
create policy api_tokens_delete on ops.api_tokens for delete to public using (false);

create policy branches_select on ops.branches for select to public using (ops.can_view_project(project_id));
create policy branches_insert on ops.branches for insert to public with check (ops.can_write_project(project_id));
create policy branches_update on ops.branches for update to public using (ops.can_write_project(project_id));
create policy branches_delete on ops.branches for delete to public using (false);

create policy environments_select on ops.environments for select to public using (ops.can_view_project(project_id));
create policy environments_insert on ops.environments for insert to public
    with check (ops.can_write_project(project_id));
create policy environments_update on ops.environments for update to public using (ops.can_write_project(project_id));
create policy environments_delete on ops.environments for delete to public using (false);
create policy environments_worker_select on ops.environments for select to ops_worker using (true);
create policy environments_worker_insert on ops.environments for insert to ops_worker with check (true);
create policy environments_worker_update on ops.environments for update to ops_worker using (true);

create policy runs_select on ops.runs for select to public using (ops.can_view_project(project_id));
create policy runs_insert on ops.runs for insert to public with check (ops.can_write_project(project_id));
create policy runs_update on ops.runs for update to public using (ops.can_write_project(project_id));
create policy runs_worker_update on ops.runs for update to ops_worker using (true);
create policy runs_delete on ops.runs for delete to public using (false);

create policy run_events_select on ops.run_events for select to public using (ops.can_view_project(project_id));
create policy run_events_insert on ops.run_events for insert to public with check (ops.can_write_project(project_id));
create policy run_events_update on ops.run_events for update to public using (false);
create policy run_events_delete on ops.run_events for delete to public using (false);

create policy run_logs_select on ops.run_logs for select to public using (ops.can_view_project(project_id));
create policy run_logs_insert on ops.run_logs for insert to public with check (false);
create policy run_logs_update on ops.run_logs for update to public using (false);
create policy run_logs_delete on ops.run_logs for delete to public using (false);

create policy run_log_heads_select on ops.run_log_heads for select to public using (ops.can_view_project(project_id));
create policy run_log_heads_insert on ops.run_log_heads for insert to public with check (false);
create policy run_log_heads_update on ops.run_log_heads for update to public using (false);
create policy run_log_heads_delete on ops.run_log_heads for delete to public using (false);

create policy log_sources_select on ops.log_sources for select to public
    using (exists (select 1 from ops.runs r where r.id = log_sources.run_id and ops.can_view_project(r.project_id)));
create policy log_sources_insert on ops.log_sources for insert to public with check (false);
create policy log_sources_update on ops.log_sources for update to public using (false);
create policy log_sources_delete on ops.log_sources for delete to public using (false);

create policy run_artifacts_select on ops.run_artifacts for select to public
    using (exists (select 1 from ops.runs r where r.id = run_artifacts.run_id and ops.can_view_project(r.project_id)));
create policy run_artifacts_insert on ops.run_artifacts for insert to public with check (false);
create policy run_artifacts_update on ops.run_artifacts for update to public using (false);
create policy run_artifacts_delete on ops.run_artifacts for delete to public using (false);

create policy audit_log_select on ops.audit_log for select to public
    using (
        ops.is_platform_admin() or user_id = ops.current_user_id()
        or (project_id is not null and ops.can_administer_project(project_id))
    );
-- Nobody writes a line in another's name.
create policy audit_log_insert on ops.audit_log for insert to public
    with check (user_id is not distinct from ops.current_user_id() or ops.is_platform_admin());
create policy audit_log_update on ops.audit_log for update to public using (false);
create policy audit_log_delete on ops.audit_log for delete to public using (false);

create policy hosts_select on ops.hosts for select to public using (ops.is_platform_admin());
create policy hosts_insert on ops.hosts for insert to public with check (ops.is_platform_admin());
create policy hosts_update on ops.hosts for update to public using (ops.is_platform_admin());
create policy hosts_delete on ops.hosts for delete to public using (ops.is_platform_admin());
create policy workers_select on ops.workers for select to public using (ops.is_platform_admin());
create policy workers_insert on ops.workers for insert to public with check (ops.is_platform_admin());
create policy workers_update on ops.workers for update to public using (ops.is_platform_admin());
create policy workers_delete on ops.workers for delete to public using (ops.is_platform_admin());

-- Workers read all that running needs.
do $$
declare
    t text;
begin
    foreach t in array array[
        'projects', 'branches', 'runs', 'run_events', 'run_logs', 'run_log_heads', 'log_sources', 'run_artifacts'
    ] loop
        execute format('create policy %I on ops.%I for select to ops_worker using (true)', t || '_worker_select', t);
    end loop;
    foreach t in array array['hosts', 'workers'] loop
        execute format('create policy %I on ops.%I for all to ops_worker using (true) with check (true)', t || '_worker', t);
    end loop;
    execute 'create policy audit_log_worker_insert on ops.audit_log for insert to ops_worker with check (user_id is null)';
    execute 'create policy run_events_worker_insert on ops.run_events for insert to ops_worker with check (true)';
end
$$;

reset role;
