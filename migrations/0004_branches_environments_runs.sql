set role ops_owner;

create table ops.branches (
    id uuid primary key default ops.uuid_v7(),
    project_id uuid not null references ops.projects (id) on delete cascade,
    name text not null,
    stage text not null default 'development',
    -- What a push does: new build, update of the previous build, nothing.
    on_push text not null default 'new',
    settings jsonb not null default '{}',
    head_sha text,
    head_subject text,
    head_author text,
    head_authored_at timestamptz,
    pushed_at timestamptz,
    position integer not null default 0,
    created_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint branches_stage check (stage in ('production', 'staging', 'development')),
    constraint branches_on_push check (on_push in ('new', 'update', 'nothing')),
    constraint branches_name_length check (length(name) between 1 and 200),
    constraint branches_head_sha check (head_sha ~ '^([0-9a-f]{40}|[0-9a-f]{64})$')
);
create unique index branches_project_name_key on ops.branches (project_id, name) where deleted_at is null;
create unique index branches_one_production on ops.branches (project_id)
    where stage = 'production' and deleted_at is null;
create index branches_project_id on ops.branches (project_id);

create sequence ops.lease_seq;

-- The queue and its history.
create table ops.runs (
    id uuid primary key default ops.uuid_v7(),
    project_id uuid not null references ops.projects (id) on delete cascade,
    branch_id uuid references ops.branches (id) on delete set null,
    environment_id uuid,
    workflow_id uuid,
    kind text not null,
    status text not null default 'queued',
    git_ref text not null,
    commit_sha text not null,
    params jsonb not null default '{}',
    priority integer not null default 0,
    -- At most one claimed or running run per key.
    serial_key text,
    idempotency_key text,
    attempt integer not null default 0,
    -- Grows with every claim and is never used again: what fences a worker that was thought dead.
    lease bigint,
    worker_id text,
    lease_expires_at timestamptz,
    -- The step being worked on, as in the last step_started event.
    step text,
    run_after timestamptz not null default now(),
    queued_at timestamptz not null default now(),
    claimed_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    exit_code integer,
    error_message text,
    cancel_requested_at timestamptz,
    superseded_by uuid references ops.runs (id) on delete set null,
    requested_by uuid references ops.users (id) on delete set null,
    constraint runs_kind check (
        kind in ('build', 'test', 'deploy', 'backup', 'restore', 'clone', 'upgrade', 'move', 'maintenance')
    ),
    constraint runs_status check (
        status in (
            'queued', 'claimed', 'running', 'succeeded', 'warning', 'failed', 'timed_out', 'canceled', 'superseded'
        )
    ),
    constraint runs_git_ref check (git_ref !~ '[[:cntrl:]]' and length(git_ref) between 1 and 500),
    constraint runs_commit_sha check (commit_sha ~ '^[0-9a-f]{7,64}$'),
    constraint runs_idempotency_key unique (project_id, idempotency_key)
);
create index runs_queued on ops.runs (priority desc, queued_at, id) where status = 'queued';
create index runs_leased on ops.runs (lease_expires_at) where status in ('claimed', 'running');
create unique index runs_serial_key on ops.runs (serial_key)
    where status in ('claimed', 'running') and serial_key is not null;
create index runs_project_id on ops.runs (project_id, queued_at desc);
create index runs_branch_id on ops.runs (branch_id, queued_at desc);
create index runs_environment_id on ops.runs (environment_id);
create index runs_workflow_id on ops.runs (workflow_id);
create index runs_superseded_by on ops.runs (superseded_by);
create index runs_requested_by on ops.runs (requested_by);

-- One running (or stopped) Odoo with a database of its own.
create table ops.environments (
    id uuid primary key default ops.uuid_v7(),
    project_id uuid not null references ops.projects (id) on delete cascade,
    branch_id uuid references ops.branches (id) on delete set null,
    -- The run that built it.
    run_id uuid references ops.runs (id) on delete set null,
    stage text not null,
    state text not null default 'building',
    git_ref text not null,
    commit_sha text not null,
    database_name text not null,
    container_id text,
    hostname text not null,
    address text,
    port integer,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    destroyed_at timestamptz,
    expires_at timestamptz,
    constraint environments_stage check (stage in ('production', 'staging', 'development')),
    constraint environments_state check (
        state in ('building', 'running', 'stopped', 'destroying', 'destroyed', 'failed')
    ),
    constraint environments_hostname_key unique (hostname),
    constraint environments_hostname_format check (hostname ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(hostname) <= 63),
    constraint environments_database_name_key unique (database_name)
);
create index environments_project_id on ops.environments (project_id);
create index environments_branch_id on ops.environments (branch_id);
create index environments_run_id on ops.environments (run_id);
create index environments_live on ops.environments (state)
    where state in ('building', 'running', 'stopped', 'destroying');

alter table ops.runs
    add constraint runs_environment_id_fkey
    foreign key (environment_id) references ops.environments (id) on delete set null;

-- A machine with one Docker daemon, one worker and its tenant clusters.
create table ops.hosts (
    id uuid primary key default ops.uuid_v7(),
    name text not null,
    created_at timestamptz not null default now(),
    constraint hosts_name_key unique (name)
);

create table ops.workers (
    id text primary key,
    host_id uuid references ops.hosts (id) on delete set null,
    version text not null,
    -- Runs at a time.
    capacity integer not null check (capacity > 0),
    kinds text[] not null default '{build}',
    started_at timestamptz not null default now(),
    last_heartbeat_at timestamptz not null default now()
);
create index workers_host_id on ops.workers (host_id);

reset role;
