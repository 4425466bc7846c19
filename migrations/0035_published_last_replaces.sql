set role ops_owner;

-- Times do not tell which environment is the newest: the clock may have been set back in between. The builds of a
-- branch run one after another, so what is published now is it, and it replaces all that there is.
create or replace function ops.retire_older_environments(p_newest uuid) returns integer
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_newest ops.environments;
    v_count integer;
begin
    perform ops.require_worker();
    select * into v_newest from ops.environments where id = p_newest;
    if v_newest.id is null then
        raise exception 'unknown environment: %', p_newest using errcode = 'P0002';
    end if;
    if not ops.is_own_host(v_newest.host_id) then
        raise exception 'the environment is on another host' using errcode = '42501';
    end if;
    update ops.environments older set state = 'destroying'
    from ops.branches b
    where b.id = v_newest.branch_id and older.branch_id = v_newest.branch_id and older.id <> v_newest.id
      and older.state in ('running', 'stopped')
      and (older.stage = v_newest.stage or v_newest.stage = b.stage);
    get diagnostics v_count = row_count;
    if v_count > 0 then
        perform pg_notify('ops_environment', v_newest.project_id::text);
    end if;
    return v_count;
end
$$;

reset role;
