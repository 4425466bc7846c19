set role ops_owner;

-- Who asks. ops.user_id counts only for the console's own login; every other login is the user named by db_role.
create function ops.current_user_id() returns uuid
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select case
        when session_user = 'ops_web' then nullif(current_setting('ops.user_id', true), '')::uuid
        else (select u.id from ops.users u where u.db_role = session_user and u.disabled_at is null)
    end
$$;

create function ops.is_platform_admin() returns boolean
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select pg_has_role(session_user, 'ops_admin', 'member')
        or exists (
            select 1 from ops.users u
            where u.id = ops.current_user_id() and u.platform_admin and u.disabled_at is null
        )
$$;

-- The role of who asks in a project; null for strangers. Platform administrators act as owners.
create function ops.project_role(p_project_id uuid) returns text
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select case
        when ops.is_platform_admin() then 'owner'
        else (
            select m.role from ops.project_memberships m
            join ops.users u on u.id = m.user_id and u.disabled_at is null
            where m.project_id = p_project_id and m.user_id = ops.current_user_id()
        )
    end
$$;

create function ops.can_view_project(p_project_id uuid) returns boolean
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select ops.project_role(p_project_id) is not null $$;

create function ops.can_write_project(p_project_id uuid) returns boolean
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select coalesce(ops.project_role(p_project_id) in ('owner', 'admin', 'tester', 'developer'), false) $$;

create function ops.can_administer_project(p_project_id uuid) returns boolean
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select coalesce(ops.project_role(p_project_id) in ('owner', 'admin'), false) $$;

grant execute on function
    ops.current_user_id(), ops.is_platform_admin(), ops.project_role(uuid), ops.can_view_project(uuid),
    ops.can_write_project(uuid), ops.can_administer_project(uuid)
to ops_web, ops_worker, ops_admin;

reset role;
