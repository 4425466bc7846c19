set role ops_owner;

-- A host is where a run's containers and databases are. What it has is told by its worker's heartbeat.
alter table ops.hosts
    add column labels text[] not null default '{}',
    -- No run is admitted when less than this would stay free.
    add column min_free_memory_bytes bigint not null default 536870912,
    add column min_free_disk_bytes bigint not null default 2147483648,
    add column revoked_at timestamptz,
    add constraint hosts_name_length check (length(name) between 1 and 200);
comment on column ops.hosts.labels is 'What runs may require of a host; a run is placed where all of its labels are.';

alter table ops.workers
    add column draining_since timestamptz;
comment on column ops.workers.draining_since is 'Since then it claims nothing more.';
comment on column ops.workers.last_heartbeat_at is
    'To within ten seconds, so that heartbeats do not rewrite this row; ops.worker_heartbeats has it exactly.';

-- Rewritten every second. Apart from what others read and join, so that its dead rows slow nobody.
create table ops.worker_heartbeats (
    worker_id text primary key references ops.workers (id) on delete cascade,
    at timestamptz not null default clock_timestamp(),
    -- How many runs it holds.
    running integer not null default 0,
    -- Since when the process finishes what it holds, to end.
    stopping_since timestamptz,
    cpus integer,
    memory_total_bytes bigint,
    memory_free_bytes bigint,
    disk_total_bytes bigint,
    disk_free_bytes bigint
) with (fillfactor = 50);

-- How many runs of a kind may be under way at once, on all hosts together. No row: as many as workers have slots.
create table ops.kind_limits (
    kind text primary key,
    max_running integer not null check (max_running >= 0),
    constraint kind_limits_kind check (
        kind in ('build', 'test', 'deploy', 'backup', 'restore', 'clone', 'upgrade', 'move', 'maintenance')
    )
);

alter table ops.runs
    -- The only host that may do it; null: any that fits.
    add column host_id uuid references ops.hosts (id) on delete set null,
    add column requires text[] not null default '{}';
comment on column ops.runs.requires is 'Labels that the host must have.';
create index runs_host_id on ops.runs (host_id) where host_id is not null;

alter table ops.environments
    add column host_id uuid references ops.hosts (id) on delete restrict;
comment on column ops.environments.host_id is 'Where its container, database and files are.';
create index environments_host_id on ops.environments (host_id);

do $$
declare
    t text;
begin
    foreach t in array array['worker_heartbeats', 'kind_limits'] loop
        execute format('alter table ops.%I enable row level security', t);
        execute format('alter table ops.%I force row level security', t);
        execute format('create policy %I on ops.%I for all to ops_owner using (true) with check (true)', t || '_owner', t);
        execute format('create policy %I on ops.%I for select to public using ((select ops.is_platform_admin()))', t || '_select', t);
        execute format('create policy %I on ops.%I for insert to public with check ((select ops.is_platform_admin()))', t || '_insert', t);
        execute format('create policy %I on ops.%I for update to public using ((select ops.is_platform_admin()))', t || '_update', t);
        execute format('create policy %I on ops.%I for delete to public using ((select ops.is_platform_admin()))', t || '_delete', t);
        execute format('create policy %I on ops.%I for select to ops_worker using (true)', t || '_worker_select', t);
        execute format('grant select on ops.%I to ops_web, ops_worker, ops_admin', t);
    end loop;
end
$$;
grant insert, update, delete on ops.kind_limits to ops_web, ops_admin;
grant insert, update, delete on ops.hosts, ops.workers to ops_admin;

reset role;
