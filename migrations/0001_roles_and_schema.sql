-- Roles of the control plane. None can log in until `ops migrate` (or an administrator) gives it a password.
-- ops_owner owns everything in the schema and has no login: SECURITY DEFINER functions run as it.
do $$
declare
    role_name text;
begin
    foreach role_name in array array['ops_owner', 'ops_web', 'ops_worker', 'ops_admin'] loop
        begin
            execute format('create role %I nologin', role_name);
        exception
            when duplicate_object or unique_violation then null;
        end;
    end loop;
    execute format('grant ops_owner to %I', current_user);
end
$$;

create schema if not exists ops authorization ops_owner;
grant usage on schema ops to ops_web, ops_worker, ops_admin;

set role ops_owner;
alter default privileges revoke execute on functions from public;
reset role;
