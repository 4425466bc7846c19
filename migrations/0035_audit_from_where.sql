set role ops_owner;

-- Where who asks is. Only the console's own login may say so: it alone speaks for people whom it has seen come in.
-- What is no address is none: whoever can write nonsense here must not keep an act from being done or written down.
create function ops.client_address() returns text
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if session_user <> 'ops_web' then
        return null;
    end if;
    return host(nullif(current_setting('ops.client_address', true), '')::inet);
exception when data_exception then
    return null;
end
$$;
comment on function ops.client_address() is
    'The address from which who asks came to the console, as the console says; null when unknown, or said by others.';

-- The project of what was asked for, whether or not who asks may see it. Projects are named by slug too.
create function ops.audited_project(
    p_object_type text, p_object_id text, out project_id uuid, out object_id text, out is_there boolean
)
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
#variable_conflict use_column
declare
    v_id uuid := case when p_object_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_object_id::uuid end;
begin
    case p_object_type
        when 'project' then
            select p.id into project_id from ops.projects p
            where (p.id = v_id or p.slug = p_object_id) and p.archived_at is null;
        when 'branch' then
            select b.project_id into project_id from ops.branches b where b.id = v_id and b.deleted_at is null;
        when 'run' then
            select r.project_id into project_id from ops.runs r where r.id = v_id;
        when 'environment' then
            select e.project_id into project_id from ops.environments e where e.id = v_id and e.state <> 'destroyed';
        when 'schedule' then
            -- The platform's own have no project.
            select s.project_id into project_id from ops.schedules s where s.id = v_id;
        else
            is_there := false;
            object_id := p_object_id;
            return;
    end case;
    is_there := found;
    object_id := case when p_object_type = 'project' then coalesce(project_id::text, p_object_id) else p_object_id end;
end
$$;
comment on function ops.audited_project(text, text) is
    'The project of an object, the object''s id and whether it is there: also for those who may not see it. For ops.audit '
    'only.';

drop function ops.audit(uuid, text, text, text, jsonb);

-- The audit log is written by the console, about who asks, now. Who is refused need not see what they were refused:
-- a stranger is exactly who should be written down.
create function ops.audit(
    p_project_id uuid, p_action text, p_object_type text, p_object_id text, p_detail jsonb,
    p_outcome text default 'allowed'
) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_object record;
begin
    if session_user <> 'ops_web' and not ops.is_platform_admin() then
        raise exception 'only the console writes the audit log' using errcode = '42501';
    end if;
    if ops.current_user_id() is null then
        raise exception 'nobody asks' using errcode = '42501';
    end if;
    if p_outcome is null or p_outcome not in ('allowed', 'refused', 'hidden') then
        raise exception 'an outcome is allowed, refused or hidden' using errcode = '22023';
    end if;
    if p_outcome = 'allowed' then
        if p_project_id is not null and ops.project_role(p_project_id) is null then
            raise exception 'unknown project: %', p_project_id using errcode = 'P0002';
        end if;
    else
        v_object := ops.audited_project(p_object_type, p_object_id);
        p_object_id := v_object.object_id;
        p_project_id := coalesce(
            (select p.id from ops.projects p where p.id = p_project_id), v_object.project_id
        );
        -- Answered as if it were not there. When it is not, or who asks may see it, nobody was kept from anything.
        if p_outcome = 'hidden' and (
            not v_object.is_there or ops.is_platform_admin() or ops.project_role(p_project_id) is not null
        ) then
            return;
        end if;
    end if;
    insert into ops.audit_log (user_id, project_id, action, object_type, object_id, outcome, detail, address)
    values (ops.current_user_id(), p_project_id, p_action, p_object_type, p_object_id,
            case p_outcome when 'allowed' then 'allowed' else 'refused' end, coalesce(p_detail, '{}'),
            ops.client_address());
end
$$;
comment on function ops.audit(uuid, text, text, text, jsonb, text) is
    'Writes down what who asks has done (allowed) or was kept from: told so (refused), or told that it is not there '
    '(hidden; written as refused, and only when it is there and who asks may not see it). '
    'Errors: P0002 unknown project of what was allowed; 22023 bad outcome; 42501 not the console, or nobody asks.';
grant execute on function ops.audit(uuid, text, text, text, jsonb, text) to ops_web, ops_admin;

reset role;
