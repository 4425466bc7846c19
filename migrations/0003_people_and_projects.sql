set role ops_owner;

-- One row: which installation this database belongs to. The same id stands in the data directory.
create table ops.installation (
    only_row boolean primary key default true check (only_row),
    id uuid not null default ops.uuid_v7(),
    epoch bigint not null default 1,
    created_at timestamptz not null default now()
);
insert into ops.installation default values;

-- People known by SSO subject and e-mail, and service accounts.
create table ops.users (
    id uuid primary key default ops.uuid_v7(),
    name text not null check (length(name) between 1 and 200),
    email text not null,
    -- Passes every right check of the console.
    platform_admin boolean not null default false,
    -- The login role that acts as this user from psql.
    db_role name,
    time_zone text not null default 'UTC',
    created_at timestamptz not null default now(),
    disabled_at timestamptz
);
create unique index users_email_key on ops.users (lower(email));
create unique index users_db_role_key on ops.users (db_role) where db_role is not null;

create table ops.projects (
    id uuid primary key default ops.uuid_v7(),
    slug text not null,
    name text not null,
    odoo_series text not null default '19.0',
    -- The image that environments run; null is the platform's for the series.
    image text,
    -- The project is fetched from here; null when its own repository is the source.
    remote_url text,
    settings jsonb not null default '{}',
    created_at timestamptz not null default now(),
    archived_at timestamptz,
    constraint projects_slug_key unique (slug),
    constraint projects_slug_format check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) <= 40),
    -- A slug that reads as a uuid could be mistaken for an id.
    constraint projects_slug_not_uuid check (
        slug !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' and slug !~ '^[0-9a-f]{32}$'
    ),
    constraint projects_name_length check (length(name) between 1 and 120)
);

create table ops.project_memberships (
    id uuid primary key default ops.uuid_v7(),
    project_id uuid not null references ops.projects (id) on delete cascade,
    user_id uuid not null references ops.users (id) on delete cascade,
    role text not null,
    created_at timestamptz not null default now(),
    constraint project_memberships_key unique (project_id, user_id),
    constraint project_memberships_role check (role in ('owner', 'admin', 'tester', 'developer', 'viewer'))
);
create index project_memberships_user_id on ops.project_memberships (user_id);

-- Console sessions. The id itself is only in the cookie; here is its SHA-256.
create table ops.sessions (
    id uuid primary key default ops.uuid_v7(),
    hash bytea not null,
    user_id uuid not null references ops.users (id) on delete cascade,
    provider text not null,
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    -- The session ends then, however active it is.
    expires_at timestamptz not null,
    address text,
    agent text,
    constraint sessions_hash_key unique (hash),
    constraint sessions_hash_length check (octet_length(hash) = 32)
);
create index sessions_user_id on ops.sessions (user_id);

-- Links that sign a person in once.
create table ops.login_links (
    id uuid primary key default ops.uuid_v7(),
    hash bytea not null,
    user_id uuid not null references ops.users (id) on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    used_at timestamptz,
    constraint login_links_hash_key unique (hash),
    constraint login_links_hash_length check (octet_length(hash) = 32)
);
create index login_links_user_id on ops.login_links (user_id);

-- Tokens for git and the API.
create table ops.api_tokens (
    id uuid primary key default ops.uuid_v7(),
    hash bytea not null,
    user_id uuid not null references ops.users (id) on delete cascade,
    name text not null check (length(name) between 1 and 100),
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    constraint api_tokens_hash_key unique (hash),
    constraint api_tokens_hash_length check (octet_length(hash) = 32)
);
create index api_tokens_user_id on ops.api_tokens (user_id);

reset role;
