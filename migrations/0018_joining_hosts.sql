-- Other machines join with a one-use token. Each gets a certificate and a database login of its own, so that it can
-- be told apart, kept to its own affairs, and cut off.

-- Makes and ends the logins of hosts; nobody logs in as it. Functions that run as it take nothing but a host's role.
do $$
begin
    begin
        create role ops_host_maker nologin createrole;
    exception
        when duplicate_object or unique_violation then null;
    end;
    execute format('grant ops_host_maker to %I', current_user);
end
$$;
grant ops_worker to ops_host_maker with admin option;

set role ops_owner;

alter table ops.hosts
    add column node_address text,
    add column db_role text,
    add column fingerprint text,
    add column joined_at timestamptz,
    add constraint hosts_db_role_key unique (db_role),
    add constraint hosts_fingerprint_key unique (fingerprint),
    add constraint hosts_db_role_form check (db_role ~ '^ops_host_[0-9a-f]{32}$'),
    add constraint hosts_fingerprint_form check (fingerprint ~ '^[0-9a-f]{64}$'),
    add constraint hosts_node_address_form check (node_address ~ '^[^[:space:][:cntrl:]/@]{1,255}:[0-9]{1,5}$');
comment on column ops.hosts.node_address is
    'Where its ops proxy takes, over mutual TLS, what the front proxy and the console send; null: this is the machine of the console.';
comment on column ops.hosts.db_role is 'Its database login; null for the machine of the console, whose worker logs in as ops_worker.';
comment on column ops.hosts.fingerprint is 'SHA-256 of its certificate''s public key.';

create table ops.host_tokens (
    id uuid primary key default ops.uuid_v7(),
    token_hash bytea not null,
    -- Null: the machine that joins says its name.
    name text,
    labels text[] not null default '{}',
    created_by uuid references ops.users (id) on delete set null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null default clock_timestamp() + interval '1 hour',
    used_at timestamptz,
    host_id uuid references ops.hosts (id) on delete cascade,
    constraint host_tokens_token_hash_key unique (token_hash),
    constraint host_tokens_hash_length check (octet_length(token_hash) = 32),
    constraint host_tokens_name_form check (name ~ '^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$')
);
create index host_tokens_created_by on ops.host_tokens (created_by);
create index host_tokens_host_id on ops.host_tokens (host_id);
alter table ops.host_tokens enable row level security;
alter table ops.host_tokens force row level security;
create policy host_tokens_owner on ops.host_tokens to ops_owner using (true) with check (true);
create policy host_tokens_select on ops.host_tokens for select to public using ((select ops.is_platform_admin()));
create policy host_tokens_insert on ops.host_tokens for insert to public with check (false);
create policy host_tokens_update on ops.host_tokens for update to public using (false);
create policy host_tokens_delete on ops.host_tokens for delete to public using (false);
-- The hash is read by functions only.
grant select (id, name, labels, created_by, created_at, expires_at, used_at, host_id)
    on ops.host_tokens to ops_web, ops_admin;

-- The host whose login this session is; null for every other login, and for a host that was revoked.
create function ops.session_host() returns uuid
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select h.id from ops.hosts h where h.db_role = session_user and h.revoked_at is null $$;

create function ops.require_worker_of(p_worker_id text) returns void
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_host uuid;
begin
    perform ops.require_worker();
    -- By name first: the login of a revoked host is nobody's.
    if not starts_with(session_user, 'ops_host_') then
        return;
    end if;
    v_host := ops.session_host();
    if v_host is null then
        raise exception 'this host is revoked' using errcode = '42501';
    end if;
    if not exists (select from ops.workers w where w.id = p_worker_id and w.host_id = v_host) then
        raise exception 'this login acts for the workers of its own host only' using errcode = '42501';
    end if;
end
$$;
comment on function ops.require_worker_of(text) is
    'Passes for workers and administrators; a joined host''s login passes only for a registered worker of that host. '
    'Error: 42501 missing right, or the host is revoked.';

-- For a worker that registers: a joined host's login names its own host, and takes no other host's worker.
create function ops.require_own_host(p_host_name text, p_worker_id text) returns void
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_host uuid := ops.session_host();
begin
    perform ops.require_worker();
    if not starts_with(session_user, 'ops_host_') then
        return;
    end if;
    if v_host is null then
        raise exception 'this host is revoked' using errcode = '42501';
    end if;
    if not exists (select from ops.hosts h where h.id = v_host and h.name = p_host_name)
        or exists (select from ops.workers w where w.id = p_worker_id and w.host_id is distinct from v_host)
    then
        raise exception 'this login acts for its own host only' using errcode = '42501';
    end if;
end
$$;
comment on function ops.require_own_host(text, text) is
    'Passes for workers and administrators; a joined host''s login passes only for that host''s name and workers. '
    'Error: 42501 missing right, or the host is revoked.';

-- What a joined host writes concerns itself. A run of another host may be touched once its lease has run out.
create function ops.refuse_other_hosts_runs() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_host uuid := ops.session_host();
begin
    if (old.worker_id is not null and old.lease_expires_at >= clock_timestamp()
            and not exists (select from ops.workers w where w.id = old.worker_id and w.host_id = v_host))
        or (new.worker_id is not null and new.worker_id is distinct from old.worker_id
            and not exists (select from ops.workers w where w.id = new.worker_id and w.host_id = v_host))
    then
        raise exception 'the run is held by a worker of another host' using errcode = '42501';
    end if;
    return new;
end
$$;
-- Afterwards: before an update, each row would be locked for the question alone.
create trigger runs_of_own_host after update on ops.runs
    for each row when (starts_with(session_user, 'ops_host_')) execute function ops.refuse_other_hosts_runs();

-- For joined hosts' logins only; null for others, who pass.
create function ops.is_own_host(p_host_id uuid) returns boolean
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select not starts_with(session_user, 'ops_host_') or p_host_id = ops.session_host() $$;

create policy environments_insert_own_host on ops.environments as restrictive for insert to ops_worker
    with check (ops.is_own_host(host_id));
create policy environments_update_own_host on ops.environments as restrictive for update to ops_worker
    using (ops.is_own_host(host_id)) with check (ops.is_own_host(host_id));
create policy workers_insert_own_host on ops.workers as restrictive for insert to ops_worker
    with check (ops.is_own_host(host_id));
create policy workers_update_own_host on ops.workers as restrictive for update to ops_worker
    using (ops.is_own_host(host_id)) with check (ops.is_own_host(host_id));
create policy workers_delete_own_host on ops.workers as restrictive for delete to ops_worker
    using (ops.is_own_host(host_id));
-- Hosts are written by functions: a host neither labels nor revives itself.
revoke insert, update on ops.hosts from ops_worker;

-- Times do not tell which environment is the newest: the clock may have been set back in between. The builds of a
-- branch run one after another, so what is published now is it, and it replaces all that there is.
create function ops.retire_older_environments(p_newest uuid) returns integer
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
    if ops.is_own_host(v_newest.host_id) is not true or ops.is_own_run(v_newest.run_id) is not true then
        raise exception 'the environment is on another host' using errcode = '42501';
    end if;
    update ops.environments older set state = 'destroying'
    from ops.branches b
    where b.id = v_newest.branch_id and b.project_id = v_newest.project_id
      and older.branch_id = v_newest.branch_id and older.project_id = v_newest.project_id
      and older.id <> v_newest.id and older.state in ('running', 'stopped')
      and (older.stage = v_newest.stage or v_newest.stage = b.stage);
    get diagnostics v_count = row_count;
    if v_count > 0 then
        perform pg_notify('ops_environment', v_newest.project_id::text);
    end if;
    return v_count;
end
$$;
comment on function ops.retire_older_environments(uuid) is
    'Marks what the environment replaces on its branch for removal by its hosts. One that somebody made beside the '
    'branch''s own stage replaces only its like: never production. '
    'Errors: P0002 unknown environment; 42501 missing right, or on another host.';

create function ops.create_host_token(p_token_hash bytea, p_name text default null, p_labels text[] default '{}')
returns timestamptz
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_expires timestamptz;
begin
    if not ops.is_platform_admin() then
        raise exception 'only platform administrators let hosts join' using errcode = '42501';
    end if;
    if exists (select from ops.hosts where name = p_name and db_role is null) then
        raise exception 'the machine of the console has this name' using errcode = '55000', constraint = 'hosts_name_key';
    end if;
    delete from ops.host_tokens where used_at is null and expires_at < clock_timestamp() - interval '1 day';
    insert into ops.host_tokens (token_hash, name, labels, created_by)
    values (p_token_hash, p_name, coalesce(p_labels, '{}'), ops.current_user_id())
    returning expires_at into v_expires;
    return v_expires;
end
$$;
comment on function ops.create_host_token(bytea, text, text[]) is
    'A token, known by its SHA-256, by which one machine joins within an hour. With the name of a joined host it joins '
    'again, with new keys. Errors: 42501 missing right; 55000 the name is the console''s machine; 23514 malformed.';

-- The two that ops_host_maker owns are below.
reset role;

create function ops.make_host_login(p_role text, p_verifier text) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if p_role !~ '^ops_host_[0-9a-f]{32}$'
        or p_verifier !~ '^SCRAM-SHA-256\$[0-9]{4,6}:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$'
    then
        raise exception 'no host''s role, or no SCRAM verifier' using errcode = '22023';
    end if;
    if not exists (select from pg_catalog.pg_roles where rolname = p_role) then
        execute format('create role %I nologin', p_role);
        execute format('grant ops_worker to %I', p_role);
        -- By which its sessions can be ended.
        execute format('grant %I to ops_host_maker', p_role);
    end if;
    execute format('alter role %I login connection limit 100 password %L', p_role, p_verifier);
end
$$;
comment on function ops.make_host_login(text, text) is
    'Makes or renews a host''s database login. Error: 22023 malformed.';

create function ops.end_host_login(p_role text) returns void
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if p_role !~ '^ops_host_[0-9a-f]{32}$' then
        raise exception 'no host''s role' using errcode = '22023';
    end if;
    if exists (select from pg_catalog.pg_roles where rolname = p_role) then
        execute format('alter role %I nologin password null', p_role);
        perform pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where usename = p_role;
    end if;
end
$$;
comment on function ops.end_host_login(text) is
    'Closes a host''s database login and ends its sessions. Error: 22023 malformed.';

grant create on schema ops to ops_host_maker;
alter function ops.make_host_login(text, text) owner to ops_host_maker;
alter function ops.end_host_login(text) owner to ops_host_maker;
revoke create on schema ops from ops_host_maker;
set role ops_host_maker;
revoke all on function ops.make_host_login(text, text), ops.end_host_login(text) from public;
grant execute on function ops.make_host_login(text, text), ops.end_host_login(text) to ops_owner;
reset role;

set role ops_owner;

create function ops.join_host(
    p_token_hash bytea, p_name text, p_fingerprint text, p_verifier text, p_node_address text
) returns table (host_id uuid, host_name text, db_role text)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
#variable_conflict use_column
declare
    v_token ops.host_tokens;
    v_host ops.hosts;
    v_name text;
begin
    select * into v_token from ops.host_tokens where token_hash = p_token_hash for update;
    if v_token.id is null then
        raise exception 'unknown token' using errcode = '42501', constraint = 'host_token_unknown';
    end if;
    if v_token.used_at is not null then
        raise exception 'the token was used already' using errcode = '55000', constraint = 'host_token_used';
    end if;
    if v_token.expires_at < clock_timestamp() then
        raise exception 'the token has expired' using errcode = '55000', constraint = 'host_token_expired';
    end if;
    v_name := coalesce(v_token.name, p_name);
    select * into v_host from ops.hosts h where h.name = v_name for update;
    if v_host.id is not null and (v_token.name is null or v_host.db_role is null) then
        raise exception 'a host has this name already' using errcode = '23505', constraint = 'hosts_name_key';
    end if;
    if v_host.id is null then
        insert into ops.hosts (name) values (v_name) returning * into v_host;
    end if;
    update ops.hosts h
    set db_role = 'ops_host_' || replace(h.id::text, '-', ''), fingerprint = p_fingerprint,
        node_address = p_node_address, joined_at = clock_timestamp(), revoked_at = null,
        labels = case when v_token.labels = '{}' then h.labels else v_token.labels end
    where h.id = v_host.id returning * into v_host;
    perform ops.make_host_login(v_host.db_role, p_verifier);
    update ops.host_tokens set used_at = clock_timestamp(), host_id = v_host.id where id = v_token.id;
    insert into ops.audit_log (user_id, action, object_type, object_id, outcome, detail)
    values (v_token.created_by, 'host.join', 'host', v_host.id::text, 'allowed',
            jsonb_build_object('name', v_name, 'fingerprint', p_fingerprint, 'address', p_node_address));
    return query select v_host.id, v_host.name, v_host.db_role;
end
$$;
comment on function ops.join_host(bytea, text, text, text, text) is
    'A machine becomes a host: the token is used up, its certificate''s key is noted, its database login made. '
    'Errors (with the name in the error''s constraint): 42501 unknown token (host_token_unknown); 55000 used '
    '(host_token_used) or expired (host_token_expired); 23505 the name is taken (hosts_name_key); 22023, 23514 malformed.';

create function ops.revoke_host(p_name text) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_host ops.hosts;
begin
    if not ops.is_platform_admin() then
        raise exception 'only platform administrators revoke hosts' using errcode = '42501';
    end if;
    select * into v_host from ops.hosts where name = p_name for update;
    if v_host.id is null then
        raise exception 'unknown host: %', left(p_name, 80) using errcode = 'P0002';
    end if;
    if v_host.db_role is null then
        raise exception 'this is the machine of the console' using errcode = '55000';
    end if;
    update ops.hosts set revoked_at = coalesce(revoked_at, clock_timestamp()) where id = v_host.id;
    perform ops.end_host_login(v_host.db_role);
    -- Its runs go back to the queue now, not when their leases run out.
    update ops.runs set lease_expires_at = clock_timestamp() - interval '1 second'
    where status in ('claimed', 'running') and worker_id in (select id from ops.workers where host_id = v_host.id);
    perform ops.requeue_lost_runs();
    return v_host.id;
end
$$;
comment on function ops.revoke_host(text) is
    'Cuts a joined host off: certificate, database login and sessions, runs. Again, it ends the sessions that came in '
    'between. Errors: 42501 missing right; P0002 unknown host; 55000 the console''s own machine.';

-- Whose certificate this is. For the node listener, which checks every connection.
create function ops.node_host(p_fingerprint text) returns table (id uuid, name text, db_role text)
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$ select h.id, h.name, h.db_role from ops.hosts h where h.fingerprint = p_fingerprint and h.revoked_at is null $$;

-- A host gets the sources of what it builds, while it builds it.
create function ops.node_may_fetch(p_host_id uuid, p_project_id uuid) returns boolean
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select exists (
        select from ops.runs r join ops.workers w on w.id = r.worker_id
        where r.project_id = p_project_id and r.status in ('claimed', 'running') and w.host_id = p_host_id
    )
$$;

create function ops.notify_hosts() returns trigger
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if (new.revoked_at, new.fingerprint, new.node_address) is distinct from
        (old.revoked_at, old.fingerprint, old.node_address)
    then
        perform pg_notify('ops_hosts', new.id::text);
        perform pg_notify('ops_routes', '');
    end if;
    return null;
end
$$;
create trigger hosts_changed after update on ops.hosts for each row execute function ops.notify_hosts();

grant execute on function ops.session_host(), ops.is_own_host(uuid) to ops_web, ops_worker, ops_admin;
grant execute on function
    ops.require_worker_of(text), ops.require_own_host(text, text), ops.retire_older_environments(uuid)
to ops_worker, ops_admin;
grant execute on function ops.create_host_token(bytea, text, text[]), ops.revoke_host(text) to ops_web, ops_admin;
grant execute on function
    ops.join_host(bytea, text, text, text, text), ops.node_host(text), ops.node_may_fetch(uuid, uuid)
to ops_web;

reset role;
