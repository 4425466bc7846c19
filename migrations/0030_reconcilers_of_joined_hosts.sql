set role ops_owner;

-- A joined host's login reports, quarantines and counts for its own host. Other logins never fire these.
create function ops.refuse_other_hosts_rows() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_host uuid := ops.session_host();
    v_row uuid := case when tg_table_name = 'hosts' then (to_jsonb(new) ->> 'id')::uuid else (to_jsonb(new) ->> 'host_id')::uuid end;
begin
    if v_row is distinct from v_host then
        raise exception 'this login acts for its own host only' using errcode = '42501';
    end if;
    return new;
end
$$;
create trigger hosts_of_own_host before update on ops.hosts
    for each row when (starts_with(session_user, 'ops_host_')) execute function ops.refuse_other_hosts_rows();
create trigger reconciler_reports_of_own_host before insert or update on ops.reconciler_reports
    for each row when (starts_with(session_user, 'ops_host_')) execute function ops.refuse_other_hosts_rows();
create trigger reconciler_requests_of_own_host before insert or update on ops.reconciler_requests
    for each row when (starts_with(session_user, 'ops_host_')) execute function ops.refuse_other_hosts_rows();
create trigger quarantine_of_own_host before insert or update on ops.quarantine
    for each row when (starts_with(session_user, 'ops_host_')) execute function ops.refuse_other_hosts_rows();

reset role;
