set role ops_owner;

-- People by what their identity provider calls them.
create table ops.user_identities (
    id uuid primary key default ops.uuid_v7(),
    user_id uuid not null references ops.users (id) on delete cascade,
    issuer text not null check (length(issuer) between 1 and 500),
    subject text not null check (length(subject) between 1 and 500),
    created_at timestamptz not null default now(),
    constraint user_identities_key unique (issuer, subject)
);
create index user_identities_user_id on ops.user_identities (user_id);

create table ops.workflows (
    id uuid primary key default ops.uuid_v7(),
    project_id uuid not null references ops.projects (id) on delete cascade,
    type text not null,
    config jsonb not null default '{}',
    enabled boolean not null default true,
    git_ref text,
    commit_sha text,
    created_at timestamptz not null default now(),
    constraint workflows_type check (type in ('build', 'test', 'deploy', 'backup', 'upgrade')),
    constraint workflows_git_ref check (git_ref !~ '[[:cntrl:]]' and length(git_ref) between 1 and 500),
    constraint workflows_commit_sha check (commit_sha ~ '^[0-9a-f]{7,64}$')
);
create index workflows_project_id on ops.workflows (project_id);
alter table ops.runs
    add constraint runs_workflow_id_fkey foreign key (workflow_id) references ops.workflows (id) on delete set null;

-- Images and tools that runs use.
create table ops.tools (
    id uuid primary key default ops.uuid_v7(),
    name text not null check (length(name) between 1 and 200),
    tag text not null check (length(tag) between 1 and 200),
    digest text not null check (digest ~ '^[a-z0-9]+:[0-9a-f]{32,128}$'),
    created_at timestamptz not null default now(),
    constraint tools_key unique (name, tag, digest)
);

create table ops.upgrade_advisories (
    id uuid primary key default ops.uuid_v7(),
    from_version text not null,
    to_version text not null,
    description text not null,
    migration_guide text,
    severity text not null,
    -- How code that it concerns is found: file patterns and expressions.
    detection jsonb not null default '{}',
    created_at timestamptz not null default now(),
    constraint upgrade_advisories_severity check (severity in ('critical', 'high', 'medium', 'low'))
);

-- PostgreSQL clusters of environments' databases. The control database is not among them.
create table ops.clusters (
    id uuid primary key default ops.uuid_v7(),
    host_id uuid not null references ops.hosts (id) on delete cascade,
    name text not null default 'tenants' check (length(name) between 1 and 100),
    version text,
    size_bytes bigint,
    created_at timestamptz not null default now(),
    constraint clusters_key unique (host_id, name)
);

-- A backup has the id of the run that makes it.
create table ops.backups (
    id uuid primary key,
    project_id uuid not null references ops.projects (id) on delete cascade,
    environment_id uuid references ops.environments (id) on delete set null,
    run_id uuid references ops.runs (id) on delete set null,
    kind text not null,
    stage text not null,
    database_name text not null,
    commit_sha text not null,
    -- Where it lies in the object store; null until it is made.
    location text,
    checksum text,
    size_bytes bigint check (size_bytes >= 0),
    created_at timestamptz not null default now(),
    stored_at timestamptz,
    -- When it was last restored and proven.
    verified_at timestamptz,
    expires_at timestamptz,
    deleted_at timestamptz,
    constraint backups_kind check (kind in ('manual', 'daily', 'weekly', 'monthly', 'before_update', 'import'))
);
create index backups_project_id on ops.backups (project_id, created_at desc);
create index backups_environment_id on ops.backups (environment_id) where environment_id is not null;
create index backups_run_id on ops.backups (run_id) where run_id is not null;

create table ops.restores (
    id uuid primary key,
    project_id uuid not null references ops.projects (id) on delete cascade,
    backup_id uuid not null references ops.backups (id) on delete restrict,
    environment_id uuid references ops.environments (id) on delete set null,
    run_id uuid references ops.runs (id) on delete set null,
    requested_by uuid references ops.users (id) on delete set null,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz
);
create index restores_project_id on ops.restores (project_id, created_at desc);
create index restores_backup_id on ops.restores (backup_id);
create index restores_environment_id on ops.restores (environment_id) where environment_id is not null;
create index restores_run_id on ops.restores (run_id) where run_id is not null;
create index restores_requested_by on ops.restores (requested_by) where requested_by is not null;

-- What must be agreed to, by how many, of which role.
create table ops.policies (
    id uuid primary key default ops.uuid_v7(),
    project_id uuid not null references ops.projects (id) on delete cascade,
    action text not null check (length(action) between 1 and 100),
    stage text,
    approvers text not null default 'admin',
    required_approvals integer not null default 1 check (required_approvals between 1 and 20),
    enabled boolean not null default true,
    created_at timestamptz not null default now(),
    constraint policies_stage check (stage in ('production', 'staging', 'development')),
    constraint policies_approvers check (approvers in ('owner', 'admin', 'tester', 'developer')),
    constraint policies_key unique (project_id, action, stage)
);

create table ops.approvals (
    id uuid primary key default ops.uuid_v7(),
    project_id uuid not null references ops.projects (id) on delete cascade,
    policy_id uuid references ops.policies (id) on delete set null,
    run_id uuid references ops.runs (id) on delete cascade,
    user_id uuid references ops.users (id) on delete set null,
    decision text not null,
    reason text check (length(reason) <= 4000),
    created_at timestamptz not null default now(),
    constraint approvals_decision check (decision in ('approved', 'refused'))
);
create index approvals_project_id on ops.approvals (project_id);
create index approvals_policy_id on ops.approvals (policy_id) where policy_id is not null;
create index approvals_run_id on ops.approvals (run_id) where run_id is not null;
create index approvals_user_id on ops.approvals (user_id) where user_id is not null;

-- Encrypted before they come here; the key is not in the database.
create table ops.secrets (
    id uuid primary key default ops.uuid_v7(),
    project_id uuid not null references ops.projects (id) on delete cascade,
    branch_id uuid references ops.branches (id) on delete cascade,
    stage text,
    name text not null check (name ~ '^[A-Za-z_][A-Za-z0-9_]{0,199}$'),
    ciphertext bytea not null,
    key_id text not null,
    created_by uuid references ops.users (id) on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint secrets_stage check (stage in ('production', 'staging', 'development')),
    -- Scoped to the project, to a stage or to a branch.
    constraint secrets_scope check (stage is null or branch_id is null),
    constraint secrets_key unique nulls not distinct (project_id, stage, branch_id, name)
);
create index secrets_branch_id on ops.secrets (branch_id) where branch_id is not null;
create index secrets_created_by on ops.secrets (created_by) where created_by is not null;

create table ops.domains (
    id uuid primary key default ops.uuid_v7(),
    project_id uuid not null references ops.projects (id) on delete cascade,
    branch_id uuid references ops.branches (id) on delete set null,
    name text not null,
    verified_at timestamptz,
    created_at timestamptz not null default now(),
    constraint domains_name_format check (
        name ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' and length(name) <= 253
    ),
    constraint domains_name_key unique (name)
);
create index domains_project_id on ops.domains (project_id);
create index domains_branch_id on ops.domains (branch_id) where branch_id is not null;

-- What environments that are not production tried to send.
create table ops.mails (
    id uuid primary key default ops.uuid_v7(),
    project_id uuid not null references ops.projects (id) on delete cascade,
    environment_id uuid references ops.environments (id) on delete cascade,
    sender text not null,
    recipients text[] not null,
    subject text not null default '',
    size_bytes bigint not null check (size_bytes >= 0),
    -- The message as it came, in the object store.
    location text not null,
    received_at timestamptz not null default now()
);
create index mails_project_id on ops.mails (project_id, received_at desc);
create index mails_environment_id on ops.mails (environment_id) where environment_id is not null;

create table ops.ssh_keys (
    id uuid primary key default ops.uuid_v7(),
    user_id uuid not null references ops.users (id) on delete cascade,
    name text not null check (length(name) between 1 and 100),
    public_key text not null check (length(public_key) between 1 and 16384),
    fingerprint text not null,
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    constraint ssh_keys_fingerprint_key unique (fingerprint)
);
create index ssh_keys_user_id on ops.ssh_keys (user_id);

-- What is measured of a host (environment null) or of an environment.
create table ops.metric_samples (
    at timestamptz not null default clock_timestamp(),
    host_id uuid,
    environment_id uuid,
    project_id uuid,
    metric text not null,
    value double precision not null
) partition by range (at);
create index metric_samples_environment on ops.metric_samples (environment_id, metric, at);
create index metric_samples_host on ops.metric_samples (host_id, metric, at);
create table ops.metric_samples_default partition of ops.metric_samples default;

do $$
declare
    t text;
begin
    foreach t in array array[
        'user_identities', 'workflows', 'tools', 'upgrade_advisories', 'clusters', 'backups', 'restores', 'policies',
        'approvals', 'secrets', 'domains', 'mails', 'ssh_keys', 'metric_samples', 'metric_samples_default'
    ] loop
        execute format('alter table ops.%I enable row level security', t);
        execute format('alter table ops.%I force row level security', t);
        execute format('create policy %I on ops.%I for all to ops_owner using (true) with check (true)', t || '_owner', t);
        if t <> 'metric_samples_default' then
            execute format('grant select on ops.%I to ops_web, ops_worker, ops_admin', t);
        end if;
    end loop;

    -- Of a project: its members see them.
    foreach t in array array[
        'workflows', 'backups', 'restores', 'policies', 'approvals', 'secrets', 'domains', 'mails', 'metric_samples'
    ] loop
        execute format(
            'create policy %I on ops.%I for select to public using (
                 (select ops.is_platform_admin()) or project_id = any (array(select ops.visible_projects())))',
            t || '_select', t
        );
        execute format('create policy %I on ops.%I for select to ops_worker using (true)', t || '_worker_select', t);
    end loop;
    -- Its administrators decide about them.
    foreach t in array array['workflows', 'policies', 'secrets', 'domains'] loop
        execute format('create policy %I on ops.%I for insert to public with check (ops.can_administer_project(project_id))', t || '_insert', t);
        execute format('create policy %I on ops.%I for update to public using (ops.can_administer_project(project_id))', t || '_update', t);
        execute format('create policy %I on ops.%I for delete to public using (ops.can_administer_project(project_id))', t || '_delete', t);
        execute format('grant insert, update, delete on ops.%I to ops_web, ops_admin', t);
    end loop;
    -- Written by functions and workers.
    foreach t in array array['backups', 'restores', 'mails', 'metric_samples'] loop
        execute format('create policy %I on ops.%I for insert to public with check (false)', t || '_insert', t);
        execute format('create policy %I on ops.%I for update to public using (false)', t || '_update', t);
        execute format('create policy %I on ops.%I for delete to public using (false)', t || '_delete', t);
        execute format('create policy %I on ops.%I for insert to ops_worker with check (true)', t || '_worker_insert', t);
        execute format('grant insert on ops.%I to ops_worker', t);
    end loop;
    foreach t in array array['backups', 'restores'] loop
        execute format('create policy %I on ops.%I for update to ops_worker using (true)', t || '_worker_update', t);
        execute format('grant update on ops.%I to ops_worker', t);
    end loop;
    -- Of the platform: known to all, kept by its administrators.
    foreach t in array array['tools', 'upgrade_advisories'] loop
        execute format('create policy %I on ops.%I for select to public using ((select ops.current_user_id()) is not null or (select ops.is_platform_admin()))', t || '_select', t);
        execute format('create policy %I on ops.%I for select to ops_worker using (true)', t || '_worker_select', t);
    end loop;
    execute 'create policy clusters_select on ops.clusters for select to public using ((select ops.is_platform_admin()))';
    foreach t in array array['tools', 'upgrade_advisories', 'clusters'] loop
        execute format('create policy %I on ops.%I for insert to public with check ((select ops.is_platform_admin()))', t || '_insert', t);
        execute format('create policy %I on ops.%I for update to public using ((select ops.is_platform_admin()))', t || '_update', t);
        execute format('create policy %I on ops.%I for delete to public using ((select ops.is_platform_admin()))', t || '_delete', t);
        execute format('grant insert, update, delete on ops.%I to ops_admin', t);
    end loop;
    execute 'create policy clusters_worker on ops.clusters for all to ops_worker using (true) with check (true)';
    execute 'create policy tools_worker_insert on ops.tools for insert to ops_worker with check (true)';
    execute 'grant insert, update on ops.clusters to ops_worker';
    execute 'grant insert on ops.tools to ops_worker';
end
$$;

-- The ciphertext is for the workers.
revoke select on ops.secrets from ops_web, ops_admin;
grant select (id, project_id, branch_id, stage, name, key_id, created_by, created_at, updated_at)
    on ops.secrets to ops_web, ops_admin;

-- A decision is made once, in one's own name.
create policy approvals_insert on ops.approvals for insert to public
    with check (user_id = (select ops.current_user_id()) and ops.can_write_project(project_id));
create policy approvals_update on ops.approvals for update to public using (false);
create policy approvals_delete on ops.approvals for delete to public using (false);
grant insert on ops.approvals to ops_web, ops_admin;

create policy user_identities_select on ops.user_identities for select to public
    using (user_id = (select ops.current_user_id()) or (select ops.is_platform_admin()));
create policy user_identities_insert on ops.user_identities for insert to public
    with check ((select ops.is_platform_admin()));
create policy user_identities_update on ops.user_identities for update to public using (false);
create policy user_identities_delete on ops.user_identities for delete to public
    using ((select ops.is_platform_admin()));
grant insert, delete on ops.user_identities to ops_admin;

create policy ssh_keys_select on ops.ssh_keys for select to public
    using (user_id = (select ops.current_user_id()) or (select ops.is_platform_admin()));
create policy ssh_keys_insert on ops.ssh_keys for insert to public with check (user_id = (select ops.current_user_id()));
create policy ssh_keys_update on ops.ssh_keys for update to public using (false);
create policy ssh_keys_delete on ops.ssh_keys for delete to public
    using (user_id = (select ops.current_user_id()) or (select ops.is_platform_admin()));
grant insert, delete on ops.ssh_keys to ops_web, ops_admin;

-- Who asks. The identity settings count only for the logins that may speak for others: the console's own
-- (ops.user_id) and PostgREST's (request.jwt.claims). Every other login is the user named by db_role, or nobody.
create or replace function ops.current_user_id() returns uuid
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_setting text := nullif(current_setting('ops.user_id', true), '');
    v_claims jsonb;
    v_claimed uuid;
begin
    if session_user not in ('ops_web', 'authenticator') then
        return (select u.id from ops.users u where u.db_role = session_user and u.disabled_at is null);
    end if;
    v_claims := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
    if v_claims is not null then
        select u.id into v_claimed
        from ops.user_identities i join ops.users u on u.id = i.user_id and u.disabled_at is null
        where i.issuer = v_claims ->> 'iss' and i.subject = v_claims ->> 'sub';
        if v_setting is not null and v_setting::uuid is distinct from v_claimed then
            raise exception 'ops.user_id and request.jwt.claims name different users' using errcode = '28000';
        end if;
    end if;
    if session_user = 'ops_web' then
        return v_setting::uuid;
    end if;
    return v_claimed;
end
$$;
comment on function ops.current_user_id() is
    'The user on whose behalf this session asks; null for nobody. '
    'Error: 28000 both identity settings are set and name different users.';

-- Functions that every request and every run passes through, in forms whose plans are kept. (A function in SQL that
-- runs as its owner is planned again in every query.)
create or replace function ops.uuid_v7() returns uuid
language sql volatile parallel safe
as $$
    select pg_catalog.encode(
        pg_catalog.set_bit(
            pg_catalog.set_bit(
                pg_catalog.overlay(
                    pg_catalog.uuid_send(pg_catalog.gen_random_uuid()),
                    pg_catalog.substring(
                        pg_catalog.int8send(
                            (extract(epoch from pg_catalog.clock_timestamp()) operator(pg_catalog.*) 1000)::pg_catalog.int8
                        ), 3
                    ), 1, 6
                ),
                52, 1
            ),
            53, 1
        ),
        'hex'
    )::pg_catalog.uuid
$$;

create or replace function ops.is_platform_admin() returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    -- A login that speaks for others has no rights of its own, whatever roles it was given.
    if session_user not in ('ops_web', 'authenticator') and pg_has_role(session_user, 'ops_admin', 'member') then
        return true;
    end if;
    return exists (
        select from ops.users u where u.id = ops.current_user_id() and u.platform_admin and u.disabled_at is null
    );
end
$$;

create or replace function ops.project_role(p_project_id uuid) returns text
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_user uuid;
begin
    -- As ops.is_platform_admin, which is a question of its own.
    if session_user not in ('ops_web', 'authenticator') and pg_has_role(session_user, 'ops_admin', 'member') then
        return 'owner';
    end if;
    v_user := ops.current_user_id();
    return (
        select case when u.platform_admin then 'owner' else m.role end
        from ops.users u left join ops.project_memberships m on m.user_id = u.id and m.project_id = p_project_id
        where u.id = v_user and u.disabled_at is null
    );
end
$$;

-- Becomes part of the expression that asks: what every step of a run's life asks is no call.
create function ops.is_worker() returns boolean
language sql stable
as $$
    select (session_user not in ('ops_web', 'authenticator') and pg_has_role(session_user, 'ops_worker', 'member'))
        or ops.is_platform_admin()
$$;

-- As who calls it: a change of role and of search_path costs more than what it does.
create or replace function ops.require_worker() returns void
language plpgsql stable
as $$
begin
    if not ops.is_worker() then
        raise exception 'only workers and administrators may do this' using errcode = '42501';
    end if;
end
$$;

create or replace function ops.require_console() returns void
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if session_user = 'authenticator'
        or not (session_user = 'ops_web' or pg_has_role(session_user, 'ops_admin', 'member'))
    then
        raise exception 'only the console may do this' using errcode = '42501';
    end if;
end
$$;

-- Asked once per query here too.
alter policy users_select on ops.users using (
    id = (select ops.current_user_id()) or (select ops.is_platform_admin())
    or id = any (array(
        select m.user_id from ops.project_memberships m where m.project_id = any (array(select ops.visible_projects()))
    ))
);
alter policy project_memberships_select on ops.project_memberships using (
    user_id = (select ops.current_user_id()) or (select ops.is_platform_admin())
    or project_id = any (array(select ops.visible_projects()))
);
alter policy sessions_select on ops.sessions using (
    user_id = (select ops.current_user_id()) or (select ops.is_platform_admin())
);
alter policy api_tokens_select on ops.api_tokens using (
    user_id = (select ops.current_user_id()) or (select ops.is_platform_admin())
);
alter policy log_sources_select on ops.log_sources using (
    (select ops.is_platform_admin())
    or exists (
        select 1 from ops.runs r
        where r.id = log_sources.run_id and r.project_id = any (array(select ops.visible_projects()))
    )
);
alter policy run_artifacts_select on ops.run_artifacts using (
    (select ops.is_platform_admin())
    or exists (
        select 1 from ops.runs r
        where r.id = run_artifacts.run_id and r.project_id = any (array(select ops.visible_projects()))
    )
);
create function ops.administered_projects() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
    select m.project_id from ops.project_memberships m
    join ops.users u on u.id = m.user_id and u.disabled_at is null
    where m.user_id = ops.current_user_id() and m.role in ('owner', 'admin')
$$;
grant execute on function ops.administered_projects() to ops_web, ops_worker, ops_admin;
alter policy audit_log_select on ops.audit_log using (
    (select ops.is_platform_admin()) or user_id = (select ops.current_user_id())
    or project_id = any (array(select ops.administered_projects()))
);

create function ops.create_backup(p_environment_id uuid, p_kind text) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_env ops.environments;
    v_id uuid := ops.uuid_v7();
begin
    select * into v_env from ops.environments where id = p_environment_id;
    if v_env.id is null or not ops.can_view_project(v_env.project_id) then
        raise exception 'unknown environment: %', p_environment_id using errcode = 'P0002';
    end if;
    if not ops.can_administer_project(v_env.project_id) then
        raise exception 'your role in this project may not make backups' using errcode = '42501';
    end if;
    if v_env.state not in ('running', 'stopped') then
        raise exception 'wrong state: the environment is %', v_env.state using errcode = '55000';
    end if;
    insert into ops.runs (id, project_id, branch_id, environment_id, host_id, kind, git_ref, commit_sha, params,
                          serial_key, requested_by)
    values (v_id, v_env.project_id, v_env.branch_id, v_env.id, v_env.host_id, 'backup', v_env.git_ref, v_env.commit_sha,
            jsonb_build_object('backup_id', v_id, 'kind', p_kind), 'database:' || v_env.database_name,
            ops.current_user_id());
    insert into ops.backups (id, project_id, environment_id, run_id, kind, stage, database_name, commit_sha)
    values (v_id, v_env.project_id, v_env.id, v_id, p_kind, v_env.stage, v_env.database_name, v_env.commit_sha);
    return v_id;
end
$$;
comment on function ops.create_backup(uuid, text) is
    'Queues a backup run; the id returned is the run''s and the backup''s. '
    'Errors: P0002 unknown environment; 42501 missing right; 55000 wrong state; 23514 bad kind.';

create function ops.restore_backup(p_backup_id uuid, p_environment_id uuid) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_backup ops.backups;
    v_env ops.environments;
    v_id uuid := ops.uuid_v7();
begin
    select * into v_backup from ops.backups where id = p_backup_id;
    if v_backup.id is null or not ops.can_view_project(v_backup.project_id) then
        raise exception 'unknown backup: %', p_backup_id using errcode = 'P0002';
    end if;
    select * into v_env from ops.environments where id = p_environment_id;
    -- Data of one project never reaches another.
    if v_env.id is null or v_env.project_id <> v_backup.project_id then
        raise exception 'unknown environment: %', p_environment_id using errcode = 'P0002';
    end if;
    if not ops.can_administer_project(v_backup.project_id) then
        raise exception 'your role in this project may not restore backups' using errcode = '42501';
    end if;
    if v_backup.stored_at is null or v_backup.deleted_at is not null then
        raise exception 'wrong state: the backup is %',
            case when v_backup.deleted_at is null then 'not made yet' else 'deleted' end using errcode = '55000';
    end if;
    if v_env.state not in ('running', 'stopped') then
        raise exception 'wrong state: the environment is %', v_env.state using errcode = '55000';
    end if;
    insert into ops.runs (id, project_id, branch_id, environment_id, host_id, kind, git_ref, commit_sha, params,
                          serial_key, requested_by)
    values (v_id, v_env.project_id, v_env.branch_id, v_env.id, v_env.host_id, 'restore', v_env.git_ref, v_env.commit_sha,
            jsonb_build_object('restore_id', v_id, 'backup_id', p_backup_id), 'database:' || v_env.database_name,
            ops.current_user_id());
    insert into ops.restores (id, project_id, backup_id, environment_id, run_id, requested_by)
    values (v_id, v_env.project_id, p_backup_id, v_env.id, v_id, ops.current_user_id());
    return v_id;
end
$$;
comment on function ops.restore_backup(uuid, uuid) is
    'Queues a restore run; the id returned is the run''s and the restore''s. '
    'Errors: P0002 unknown backup or environment; 42501 missing right; 55000 wrong state.';
grant execute on function ops.create_backup(uuid, text), ops.restore_backup(uuid, uuid) to ops_web, ops_admin;

reset role;
