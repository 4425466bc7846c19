set role ops_owner;

-- The console asks these before it knows who is there. Only SHA-256 hashes of secrets arrive here.

-- Only the console's login may vouch for hashes.
create function ops.require_console() returns void
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    if not (pg_has_role(session_user, 'ops_web', 'member') or pg_has_role(session_user, 'ops_admin', 'member')) then
        raise exception 'only the console may do this' using errcode = '42501';
    end if;
end
$$;

-- The administrator whom the server's own socket acts as; made at first use.
create function ops.platform_administrator() returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_id uuid;
begin
    perform ops.require_console();
    insert into ops.users (name, email, platform_admin) values ('Administrator', 'administrator@localhost', true)
    on conflict (lower(email)) do nothing;
    select id into v_id from ops.users where lower(email) = 'administrator@localhost';
    return v_id;
end
$$;

create function ops.create_login_link(p_hash bytea) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_id uuid;
    v_user uuid := ops.platform_administrator();
begin
    if not ops.is_platform_admin() then
        raise exception 'only platform administrators make sign-in links' using errcode = '42501';
    end if;
    insert into ops.login_links (hash, user_id, expires_at)
    values (p_hash, v_user, clock_timestamp() + interval '15 minutes') returning id into v_id;
    return v_id;
end
$$;

-- Redeems a link, once, for a session. Null when the link is unknown, used or old.
create function ops.create_session(p_link_hash bytea, p_session_hash bytea, p_address text, p_agent text) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_user uuid;
    v_id uuid;
begin
    perform ops.require_console();
    update ops.login_links l set used_at = clock_timestamp()
    from ops.users u
    where l.hash = p_link_hash and l.used_at is null and l.expires_at > clock_timestamp()
      and u.id = l.user_id and u.disabled_at is null
    returning l.user_id into v_user;
    if v_user is null then
        return null;
    end if;
    insert into ops.sessions (hash, user_id, provider, expires_at, address, agent)
    values (p_session_hash, v_user, 'login_link', clock_timestamp() + interval '30 days', left(p_address, 100), left(p_agent, 400))
    returning id into v_id;
    return v_id;
end
$$;

-- Who holds this session. A session ends after a week without use, and at its absolute end.
create function ops.session_user_of(p_hash bytea)
returns table (user_id uuid, name text, email text, platform_admin boolean, session_id uuid)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_console();
    -- Written at most once a minute: every request passes here.
    update ops.sessions s set last_seen_at = clock_timestamp()
    where s.hash = p_hash and s.last_seen_at < clock_timestamp() - interval '1 minute'
      and s.last_seen_at > clock_timestamp() - interval '7 days' and s.expires_at > clock_timestamp();
    return query
        select u.id, u.name, u.email, u.platform_admin, s.id
        from ops.sessions s join ops.users u on u.id = s.user_id and u.disabled_at is null
        where s.hash = p_hash and s.expires_at > clock_timestamp()
          and s.last_seen_at > clock_timestamp() - interval '7 days';
end
$$;

create function ops.end_session(p_hash bytea) returns boolean
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_console();
    delete from ops.sessions where hash = p_hash;
    return found;
end
$$;

create function ops.create_api_token(p_name text, p_hash bytea, p_expires_at timestamptz default null) returns uuid
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
declare
    v_id uuid;
begin
    if ops.current_user_id() is null then
        raise exception 'tokens belong to a user' using errcode = '42501';
    end if;
    insert into ops.api_tokens (name, hash, user_id, expires_at)
    values (p_name, p_hash, ops.current_user_id(), p_expires_at) returning id into v_id;
    return v_id;
end
$$;

create function ops.token_user(p_hash bytea) returns table (user_id uuid, platform_admin boolean, token_id uuid)
language plpgsql security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_console();
    update ops.api_tokens t set last_used_at = clock_timestamp()
    where t.hash = p_hash and (t.last_used_at is null or t.last_used_at < clock_timestamp() - interval '1 minute');
    return query
        select u.id, u.platform_admin, t.id
        from ops.api_tokens t join ops.users u on u.id = t.user_id and u.disabled_at is null
        where t.hash = p_hash and t.revoked_at is null
          and (t.expires_at is null or t.expires_at > clock_timestamp());
end
$$;

-- Opaque to rights: the reconciler compares every project's repository with its branches.
create function ops.projects_to_reconcile() returns table (project_id uuid, slug text, remote_url text)
language plpgsql stable security definer
set search_path = pg_catalog, ops, pg_temp
as $$
begin
    perform ops.require_console();
    return query select p.id, p.slug, p.remote_url from ops.projects p where p.archived_at is null order by p.id;
end
$$;

grant execute on function
    ops.platform_administrator(), ops.create_login_link(bytea), ops.create_session(bytea, bytea, text, text),
    ops.session_user_of(bytea), ops.end_session(bytea), ops.create_api_token(text, bytea, timestamptz),
    ops.token_user(bytea), ops.projects_to_reconcile()
to ops_web, ops_admin;

reset role;
