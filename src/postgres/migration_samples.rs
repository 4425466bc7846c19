//! Rows as an installation has them, from the first migration on that can hold them. A new table needs a sample here:
//! `migration_tests` fails without one.

/// From this migration on, these statements make these rows.
pub const SAMPLES: &[(i64, &str)] = &[
    (
        3,
        "insert into ops.users (id, name, email, platform_admin, db_role, time_zone, disabled_at) values
             ('01990000-0000-7000-8000-0000000000a1', 'Ada', 'Ada@example.com', true, null, 'UTC', null),
             ('01990000-0000-7000-8000-0000000000a2', 'Bo', 'bo@example.com', false, 'bo', 'Europe/Berlin', null),
             ('01990000-0000-7000-8000-0000000000a3', 'Gone', 'gone@example.com', false, null, 'UTC', '2026-01-01Z');
         insert into ops.projects (id, slug, name, image, remote_url, settings, archived_at) values
             ('01990000-0000-7000-8000-0000000000b1', 'shop', 'Shop', 'odoo:19.0', 'https://example.com/shop.git',
              '{\"addons\": [\"extra\"]}', null),
             ('01990000-0000-7000-8000-0000000000b2', 'old', 'Old', null, null, '{}', '2026-02-01Z');
         insert into ops.project_memberships (project_id, user_id, role) values
             ('01990000-0000-7000-8000-0000000000b1', '01990000-0000-7000-8000-0000000000a2', 'developer'),
             ('01990000-0000-7000-8000-0000000000b1', '01990000-0000-7000-8000-0000000000a3', 'owner');
         insert into ops.sessions (hash, user_id, provider, expires_at, address, agent) values
             (sha256('session'), '01990000-0000-7000-8000-0000000000a2', 'login_link', '2099-01-01Z', '10.0.0.1', 'x');
         insert into ops.login_links (hash, user_id, expires_at) values
             (sha256('link'), '01990000-0000-7000-8000-0000000000a1', '2099-01-01Z');
         insert into ops.api_tokens (hash, user_id, name) values
             (sha256('token'), '01990000-0000-7000-8000-0000000000a2', 'laptop');",
    ),
    (
        4,
        "insert into ops.branches (id, project_id, name, stage, head_sha, head_subject, settings, deleted_at) values
             ('01990000-0000-7000-8000-0000000000c1', '01990000-0000-7000-8000-0000000000b1', 'main', 'production',
              repeat('a', 40), 'Grüße', '{\"tests\": true}', null),
             ('01990000-0000-7000-8000-0000000000c2', '01990000-0000-7000-8000-0000000000b1', 'gone', 'development',
              null, null, '{}', '2026-03-01Z');
         insert into ops.runs (id, project_id, branch_id, kind, status, git_ref, commit_sha, params, priority, serial_key,
                               idempotency_key, attempt, lease, worker_id, lease_expires_at, step, claimed_at, started_at,
                               finished_at, exit_code, error_message, cancel_requested_at, requested_by) values
             ('01990000-0000-7000-8000-0000000000d1', '01990000-0000-7000-8000-0000000000b1',
              '01990000-0000-7000-8000-0000000000c1', 'build', 'queued', 'refs/heads/main', repeat('a', 40),
              '{\"stage\": \"production\"}', 5, 'branch:main', 'push-1', 0, null, null, null, null, null, null, null,
              null, null, null, '01990000-0000-7000-8000-0000000000a2'),
             ('01990000-0000-7000-8000-0000000000d2', '01990000-0000-7000-8000-0000000000b1', null, 'test', 'claimed',
              'main', 'abcdef0', '{}', 0, null, null, 1, nextval('ops.lease_seq'), 'w1', '2099-01-01Z', null,
              '2026-04-01Z', null, null, null, null, null, null),
             ('01990000-0000-7000-8000-0000000000d3', '01990000-0000-7000-8000-0000000000b1', null, 'build', 'running',
              'main', 'abcdef0', '{}', 0, 'database:x', null, 2, nextval('ops.lease_seq'), 'w1', '2099-01-01Z',
              'install', '2026-04-01Z', '2026-04-01Z', null, null, null, '2026-04-02Z', null),
             ('01990000-0000-7000-8000-0000000000d4', '01990000-0000-7000-8000-0000000000b1',
              '01990000-0000-7000-8000-0000000000c1', 'build', 'succeeded', 'main', 'abcdef0', '{}', 0, 'branch:main',
              null, 1, nextval('ops.lease_seq'), 'w1', null, null, '2026-04-01Z', '2026-04-01Z', '2026-04-01Z', 0, null,
              null, null),
             ('01990000-0000-7000-8000-0000000000d5', '01990000-0000-7000-8000-0000000000b1', null, 'upgrade', 'failed',
              'main', 'abcdef0', '{}', -5, null, null, 3, null, null, null, null, '2026-04-01Z', '2026-04-01Z',
              '2026-04-01Z', 1, 'worker lost', null, null);
         insert into ops.runs (id, project_id, kind, status, git_ref, commit_sha, superseded_by, finished_at) values
             ('01990000-0000-7000-8000-0000000000d6', '01990000-0000-7000-8000-0000000000b1', 'build', 'superseded',
              'main', 'abcdef0', '01990000-0000-7000-8000-0000000000d1', '2026-04-01Z'),
             ('01990000-0000-7000-8000-0000000000d7', '01990000-0000-7000-8000-0000000000b2', 'build', 'timed_out',
              'main', 'abcdef0', null, '2026-04-01Z');
         insert into ops.environments (id, project_id, branch_id, run_id, stage, state, git_ref, commit_sha,
                                       database_name, container_id, hostname, address, port, started_at) values
             ('01990000-0000-7000-8000-0000000000e1', '01990000-0000-7000-8000-0000000000b1',
              '01990000-0000-7000-8000-0000000000c1', '01990000-0000-7000-8000-0000000000d4', 'production', 'running',
              'main', 'abcdef0', 'env_one', 'c0ffee', 'shop-main', '10.1.0.2', 8069, '2026-04-01Z'),
             ('01990000-0000-7000-8000-0000000000e2', '01990000-0000-7000-8000-0000000000b1', null, null,
              'development', 'destroyed', 'x', 'abcdef0', 'env_two', null, 'shop-x', null, null, null);
         update ops.runs set environment_id = '01990000-0000-7000-8000-0000000000e1'
             where id = '01990000-0000-7000-8000-0000000000d4';
         insert into ops.hosts (id, name) values ('01990000-0000-7000-8000-0000000000f1', 'this machine');
         insert into ops.workers (id, host_id, version, capacity) values
             ('w1', '01990000-0000-7000-8000-0000000000f1', '0.1.0', 2);",
    ),
    (
        5,
        "insert into ops.run_events (run_id, project_id, type, payload) values
             ('01990000-0000-7000-8000-0000000000d4', '01990000-0000-7000-8000-0000000000b1', 'claimed',
              '{\"worker\": \"w1\", \"attempt\": 1}'),
             ('01990000-0000-7000-8000-0000000000d4', '01990000-0000-7000-8000-0000000000b1', 'succeeded',
              '{\"exit_code\": 0}');
         insert into ops.run_log_heads (run_id, project_id, last_seq, bytes) values
             ('01990000-0000-7000-8000-0000000000d4', '01990000-0000-7000-8000-0000000000b1', 2, 9);
         do $$ begin
             -- The lines themselves, or the chunks from which they are read since 17.
             if (select relkind = 'v' from pg_catalog.pg_class where oid = 'ops.run_logs'::regclass) then
                 insert into ops.run_log_chunks (run_id, project_id, run_number, first_seq, last_seq, stream, first_at,
                                                 bytes, marks, body) values
                     ('01990000-0000-7000-8000-0000000000d4', '01990000-0000-7000-8000-0000000000b1', 1, 1, 1, 'odoo',
                      '2026-04-01Z', 7, 'i', E'Grüße\\n'),
                     ('01990000-0000-7000-8000-0000000000d4', '01990000-0000-7000-8000-0000000000b1', 1, 2, 2, 'pip',
                      '2026-04-01 00:00:01Z', 2, 'E', E'no\\n');
             else
                 insert into ops.run_logs (run_id, project_id, seq, stream, log_level, message, metadata, created_at)
                 values
                     ('01990000-0000-7000-8000-0000000000d4', '01990000-0000-7000-8000-0000000000b1', 1, 'odoo', 'info',
                      'Grüße', '{}', '2026-04-01Z'),
                     ('01990000-0000-7000-8000-0000000000d4', '01990000-0000-7000-8000-0000000000b1', 2, 'pip', 'error',
                      'no', '{\"continued\": true}', '2026-04-01 00:00:01Z');
             end if;
         end $$;
         insert into ops.audit_log (user_id, project_id, action, object_type, object_id, outcome, address) values
             ('01990000-0000-7000-8000-0000000000a2', '01990000-0000-7000-8000-0000000000b1', 'run.cancel', 'run',
              '01990000-0000-7000-8000-0000000000d4', 'refused', '10.0.0.1');
         insert into ops.log_sources (run_id, container_id, stream, collector, lease, position) values
             ('01990000-0000-7000-8000-0000000000d4', 'c0ffee', 'odoo', 'w1', nextval('ops.lease_seq'),
              '{\"since\": \"2026-04-01T00:00:01Z\"}');
         insert into ops.run_artifacts (run_id, artifact_key, s3_url, checksum, content_type, size_bytes) values
             ('01990000-0000-7000-8000-0000000000d4', 'report', 's3://x/report', 'sha256:00', 'text/html', 12);",
    ),
    (
        13,
        "update ops.environments set image = 'odooops/layer:1' where id = '01990000-0000-7000-8000-0000000000e1';
         update ops.projects set fetched_at = '2026-04-01Z', fetch_error = 'no route to host'
             where id = '01990000-0000-7000-8000-0000000000b1';
         update ops.runs set handed_back = 1 where id = '01990000-0000-7000-8000-0000000000d3';",
    ),
    (
        14,
        "update ops.hosts set labels = '{gpu}', min_free_disk_bytes = 1, revoked_at = '2026-04-01Z';
         update ops.workers set draining_since = '2026-04-01Z';
         insert into ops.worker_heartbeats (worker_id, running, cpus) values ('w1', 2, 4);
         insert into ops.kind_limits (kind, max_running) values ('backup', 2);
         update ops.runs set host_id = '01990000-0000-7000-8000-0000000000f1', requires = '{gpu}'
             where id = '01990000-0000-7000-8000-0000000000d3';
         update ops.environments set host_id = '01990000-0000-7000-8000-0000000000f1';",
    ),
    (
        15,
        "insert into ops.user_identities (user_id, issuer, subject) values
             ('01990000-0000-7000-8000-0000000000a2', 'https://id.example', 'bo');
         insert into ops.workflows (id, project_id, type, config, git_ref) values
             ('01990000-0000-7000-8000-000000000101', '01990000-0000-7000-8000-0000000000b1', 'test', '{\"a\": 1}',
              'main');
         update ops.runs set workflow_id = '01990000-0000-7000-8000-000000000101'
             where id = '01990000-0000-7000-8000-0000000000d5';
         insert into ops.tools (name, tag, digest) values ('odoo', '19.0', 'sha256:' || repeat('0', 64));
         insert into ops.upgrade_advisories (from_version, to_version, description, severity) values
             ('18.0', '19.0', 'attrs is gone', 'critical');
         insert into ops.clusters (host_id, version, size_bytes) values
             ('01990000-0000-7000-8000-0000000000f1', '15.14', 1);
         insert into ops.backups (id, project_id, environment_id, run_id, kind, stage, database_name, commit_sha,
                                  location, checksum, size_bytes, stored_at) values
             ('01990000-0000-7000-8000-000000000102', '01990000-0000-7000-8000-0000000000b1',
              '01990000-0000-7000-8000-0000000000e1', '01990000-0000-7000-8000-0000000000d4', 'daily', 'production',
              'env_one', 'abcdef0', 's3://x/backup', 'sha256:00', 5, '2026-04-01Z');
         insert into ops.restores (id, project_id, backup_id, environment_id, requested_by) values
             ('01990000-0000-7000-8000-000000000103', '01990000-0000-7000-8000-0000000000b1',
              '01990000-0000-7000-8000-000000000102', '01990000-0000-7000-8000-0000000000e1',
              '01990000-0000-7000-8000-0000000000a1');
         insert into ops.policies (id, project_id, action, stage) values
             ('01990000-0000-7000-8000-000000000104', '01990000-0000-7000-8000-0000000000b1', 'deploy', 'production');
         insert into ops.approvals (project_id, policy_id, run_id, user_id, decision, reason) values
             ('01990000-0000-7000-8000-0000000000b1', '01990000-0000-7000-8000-000000000104',
              '01990000-0000-7000-8000-0000000000d1', '01990000-0000-7000-8000-0000000000a2', 'approved', 'fine');
         insert into ops.secrets (project_id, stage, name, ciphertext, key_id) values
             ('01990000-0000-7000-8000-0000000000b1', 'production', 'API_KEY', '\\x00ff', 'k1');
         insert into ops.domains (project_id, branch_id, name) values
             ('01990000-0000-7000-8000-0000000000b1', '01990000-0000-7000-8000-0000000000c1', 'shop.example');
         insert into ops.mails (project_id, environment_id, sender, recipients, size_bytes, location) values
             ('01990000-0000-7000-8000-0000000000b1', '01990000-0000-7000-8000-0000000000e1', 'a@example.com',
              '{b@example.com}', 100, 's3://x/mail');
         insert into ops.ssh_keys (user_id, name, public_key, fingerprint) values
             ('01990000-0000-7000-8000-0000000000a2', 'laptop', 'ssh-ed25519 AAAA', 'SHA256:x');
         insert into ops.metric_samples (at, host_id, metric, value) values
             ('2026-04-01Z', '01990000-0000-7000-8000-0000000000f1', 'cpu', 0.5);",
    ),
    (
        18,
        "insert into ops.host_tokens (token_hash, name, created_by) values
             (sha256('token'), 'two', '01990000-0000-7000-8000-0000000000a1');",
    ),
    (
        19,
        "insert into ops.reconciler_reports (host_id, name, started_at, looked_at, acted, would, mode, findings) values
             ('01990000-0000-7000-8000-0000000000f1', 'containers', '2026-04-01Z', 3, 1, 0, 'act',
              '[{\"object\": \"c0ffee\", \"what\": \"container\", \"why\": \"no owner\", \"done\": true}]');
         insert into ops.reconciler_requests (host_id, requested_by) values
             ('01990000-0000-7000-8000-0000000000f1', '01990000-0000-7000-8000-0000000000a1');
         insert into ops.quarantine (host_id, kind, name, original_name, production, reason) values
             ('01990000-0000-7000-8000-0000000000f1', 'database', 'q_env_one', 'env_one', true, 'no environment');
         update ops.hosts set epoch = 3, file_epoch = 3;",
    ),
    (
        20,
        "insert into ops.leaders (name, holder, lease, expires_at) values ('sample', 'w1', 1, '2099-01-01Z');
         insert into ops.schedules (id, project_id, name, cron, kind, created_by) values
             ('01990000-0000-7000-8000-000000000105', '01990000-0000-7000-8000-0000000000b1', 'nightly', '0 3 * * *',
              'backup', '01990000-0000-7000-8000-0000000000a1');
         insert into ops.schedule_runs (schedule_id, project_id, due_at, state, run_id) values
             ('01990000-0000-7000-8000-000000000105', '01990000-0000-7000-8000-0000000000b1', '2026-04-01Z', 'queued',
              '01990000-0000-7000-8000-0000000000d4');",
    ),
];
