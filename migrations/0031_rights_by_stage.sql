set role ops_owner;

-- What the console asks for before it acts holds for psql too: who may do what to a branch depends on its stage, and
-- owners are made by owners.
create function ops.can_move_branch(p_project_id uuid, p_stage text) returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    return coalesce(ops.project_role(p_project_id) = any (case p_stage
        when 'production' then '{owner,admin}'
        when 'staging' then '{owner,admin,tester}'
        else '{owner,admin,tester,developer}'
    end::text[]), false);
end
$$;
comment on function ops.can_move_branch(uuid, text) is
    'Whether who asks may bring a branch into this stage, and take one out of it.';
grant execute on function ops.can_move_branch(uuid, text) to ops_web, ops_admin;

alter policy branches_insert on ops.branches with check (ops.can_move_branch(project_id, stage));
alter policy branches_update on ops.branches using (
    ops.can_write_project(project_id) and (stage <> 'production' or ops.can_administer_project(project_id))
);

-- A policy sees the old row or the new one, never both.
create function ops.refuse_moves() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    -- Who is no member got here by a right of another kind.
    if ops.project_role(old.project_id) is not null
        and not (ops.can_move_branch(old.project_id, old.stage) and ops.can_move_branch(new.project_id, new.stage))
    then
        raise exception 'your role in this project may not move branches from % to %', old.stage, new.stage
            using errcode = '42501';
    end if;
    return new;
end
$$;
create trigger branches_moved before update of stage on ops.branches
    for each row when (old.stage is distinct from new.stage) execute function ops.refuse_moves();

alter policy environments_update on ops.environments using (
    ops.can_write_project(project_id) and (stage <> 'production' or ops.project_role(project_id) = 'owner')
);

alter policy project_memberships_insert on ops.project_memberships with check (
    ops.can_administer_project(project_id) and (role <> 'owner' or ops.project_role(project_id) = 'owner')
);
alter policy project_memberships_update on ops.project_memberships using (
    ops.can_administer_project(project_id) and (role <> 'owner' or ops.project_role(project_id) = 'owner')
);
alter policy project_memberships_delete on ops.project_memberships using (
    ops.can_administer_project(project_id) and (role <> 'owner' or ops.project_role(project_id) = 'owner')
);

reset role;
