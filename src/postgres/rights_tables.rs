//! How a row of each relation is made and changed, for the tests of who may: samples that differ by project, person
//! and number.

use super::rights_actors::{id, letter_number, person, project};

/// Whose rows are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Of project a or b: the expression is the row's project.
    Project(&'static str),
    /// Of a person: the expression is the row's user.
    Person(&'static str),
    Platform,
    /// Rows come from elsewhere: a view, or a table that others' samples fill.
    Given(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct Relation {
    /// As in the matrix. What follows a dot is one column, read or written by itself.
    pub name: &'static str,
    pub scope: Scope,
    /// Columns and values. Null: nobody tries.
    pub insert: &'static str,
    /// An assignment that no constraint minds.
    pub update: &'static str,
}

impl Relation {
    pub fn table(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }

    pub fn column(&self) -> Option<&'static str> {
        self.name.split_once('.').map(|(_, column)| column)
    }
}

const fn of(project: &'static str) -> Scope {
    Scope::Project(project)
}

const fn relation(name: &'static str, scope: Scope, insert: &'static str, update: &'static str) -> Relation {
    Relation { name, scope, insert, update }
}

/// Fills in a sample. `number` makes it another row, `of` is the number of what it refers to.
pub fn fill(sample: &str, letter: char, user: u8, number: u16, of: u16) -> String {
    let project_number = letter_number(letter);
    let word = char::from(b'a' + u8::try_from(number % 26).unwrap_or_default());
    let kind = ["build", "test", "deploy", "backup"][usize::from(number % 4)];
    let unique = format!("{letter}{user}n{number}");
    [
        ("{project}", project(letter)),
        ("{user}", person(user)),
        ("{unique}", unique),
        ("{n}", number.to_string()),
        ("{of}", of.to_string()),
        ("{word}", format!("word_{word}")),
        ("{kind}", kind.to_owned()),
        ("{branch}", id(3, project_number, 1)),
        ("{new_branch}", id(3, project_number, number)),
        ("{run}", id(4, project_number, of)),
        ("{new_run}", id(4, project_number, number)),
        ("{environment}", id(5, project_number, 1)),
        ("{new_environment}", id(5, project_number, number)),
        ("{host}", id(6, 0, of)),
        ("{new_host}", id(6, 0, number)),
        ("{backup}", id(7, project_number, 1)),
        ("{new_backup}", id(7, project_number, number)),
        ("{new_restore}", id(8, project_number, number)),
        ("{schedule}", id(9, project_number, 1)),
    ]
    .iter()
    .fold(sample.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// In an order in which they can be filled.
pub const RELATIONS: &[Relation] = &[
    relation("installation", Scope::Given("installation"), "(only_row) values (true)", "epoch = 2"),
    relation("users", Scope::Given("id"), "(name, email) values ('x', '{unique}@x')", "time_zone = 'UTC'"),
    relation("projects", Scope::Given("id"), "(slug, name) values ('{unique}', 'x')", "name = 'x'"),
    relation(
        "project_memberships",
        Scope::Given("project_id"),
        "(project_id, user_id, role) values ('{project}', '01990000-0000-7000-8000-000100000001', 'viewer')",
        "role = 'viewer'",
    ),
    relation(
        "user_identities",
        Scope::Given("user_id"),
        "(user_id, issuer, subject) values ('{user}', 'x', '{unique}')",
        "issuer = issuer",
    ),
    relation(
        "sessions",
        Scope::Person("user_id"),
        "(user_id, hash, provider, expires_at) values ('{user}', sha256('{unique}'), 'x', now())",
        "agent = 'x'",
    ),
    relation("sessions.hash", Scope::Given("user_id"), "", "hash = hash"),
    relation(
        "login_links",
        Scope::Person("user_id"),
        "(user_id, hash, expires_at) values ('{user}', sha256('{unique}'), now())",
        "used_at = null",
    ),
    relation(
        "api_tokens",
        Scope::Person("user_id"),
        "(user_id, hash, name) values ('{user}', sha256('{unique}'), 'x')",
        "name = 'x'",
    ),
    relation("api_tokens.hash", Scope::Given("user_id"), "", "hash = hash"),
    relation("api_tokens.revoked_at", Scope::Given("user_id"), "", "revoked_at = now()"),
    relation(
        "ssh_keys",
        Scope::Person("user_id"),
        "(user_id, name, public_key, fingerprint) values ('{user}', 'x', 'x', '{unique}')",
        "name = 'x'",
    ),
    relation("hosts", Scope::Platform, "(id, name) values ('{new_host}', '{unique}')", "labels = '{}'"),
    relation("host_tokens", Scope::Platform, "(token_hash) values (sha256('{unique}'))", "labels = '{}'"),
    relation("host_tokens.token_hash", Scope::Given("true"), "", "token_hash = token_hash"),
    relation(
        "workers",
        Scope::Platform,
        "(id, host_id, version, capacity) values ('w{n}', '{host}', 'x', 1)",
        "version = 'x'",
    ),
    relation("worker_heartbeats", Scope::Platform, "(worker_id) values ('w{of}')", "running = 0"),
    relation("run_priorities", Scope::Given("true"), "(priority) values ({n})", "priority = 1"),
    relation("kind_limits", Scope::Platform, "(kind, max_running) values ('{kind}', 1)", "max_running = 1"),
    relation("clusters", Scope::Platform, "(host_id, name) values ('{host}', '{unique}')", "version = 'x'"),
    relation(
        "tools",
        Scope::Platform,
        "(name, tag, digest) values ('{unique}', 'x', 'a:' || repeat('0', 32))",
        "tag = tag",
    ),
    relation(
        "upgrade_advisories",
        Scope::Platform,
        "(from_version, to_version, description, severity) values ('1', '2', 'x', 'low')",
        "severity = 'low'",
    ),
    relation(
        "branches",
        of("project_id"),
        "(id, project_id, name) values ('{new_branch}', '{project}', '{unique}')",
        "position = 1",
    ),
    relation(
        "workflows",
        of("project_id"),
        "(project_id, type) values ('{project}', 'test')",
        "enabled = false",
    ),
    relation(
        "runs",
        of("project_id"),
        "(id, project_id, kind, git_ref, commit_sha) values ('{new_run}', '{project}', 'test', 'main', 'abcdef0')",
        "priority = 1",
    ),
    relation("runs.status", Scope::Given("project_id"), "", "status = 'queued'"),
    relation("runs.lease", Scope::Given("project_id"), "", "lease = 1"),
    relation("runs.workflow_id", Scope::Given("project_id"), "", "workflow_id = null"),
    relation("runs.environment_id", Scope::Given("project_id"), "", "environment_id = null"),
    relation(
        "environments",
        of("project_id"),
        "(id, project_id, stage, git_ref, commit_sha, database_name, hostname)
         values ('{new_environment}', '{project}', 'development', 'x', 'abcdef0', '{unique}', '{unique}')",
        "container_id = 'x'",
    ),
    relation("environments.state", Scope::Given("project_id"), "", "state = 'running'"),
    relation("environments.address", Scope::Given("project_id"), "", "address = '127.0.0.1'"),
    relation(
        "run_events",
        of("project_id"),
        "(run_id, project_id, type) values ('{run}', '{project}', 'claimed')",
        "type = 'x'",
    ),
    relation("run_attempts", Scope::Given("project_id"), "(run_id) values ('{run}')", "worker_id = 'x'"),
    relation(
        "run_log_chunks",
        of("project_id"),
        "(run_id, project_id, run_number, first_seq, last_seq, stream, first_at, bytes, marks, body)
         values ('{run}', '{project}', 1, 1, 1, 'x', now(), 2, 'i', E'x\\n')",
        "stream = 'x'",
    ),
    relation("run_logs", Scope::Given("project_id"), "(run_id) values ('{run}')", "stream = 'x'"),
    relation(
        "run_log_heads",
        of("project_id"),
        "(run_id, project_id) values ('{run}', '{project}')",
        "bytes = 1",
    ),
    relation(
        "log_sources",
        of("(select r.project_id from ops.runs r where r.id = run_id)"),
        "(run_id, container_id, stream, collector, lease) values ('{run}', '{unique}', 'x', 'x', 1)",
        "lease = 2",
    ),
    relation(
        "run_artifacts",
        of("(select r.project_id from ops.runs r where r.id = run_id)"),
        "(run_id, artifact_key, s3_url, checksum, content_type, size_bytes)
         values ('{run}', '{unique}', 'x', 'x', 'x', 1)",
        "s3_url = 'x'",
    ),
    relation(
        "audit_log",
        of("project_id"),
        "(user_id, project_id, action, object_type, outcome) values ('{user}', '{project}', 'x', 'x', 'allowed')",
        "action = 'x'",
    ),
    relation(
        "backups",
        of("project_id"),
        "(id, project_id, kind, stage, database_name, commit_sha)
         values ('{new_backup}', '{project}', 'daily', 'production', 'x', 'x')",
        "checksum = 'x'",
    ),
    relation(
        "restores",
        of("project_id"),
        "(id, project_id, backup_id) values ('{new_restore}', '{project}', '{backup}')",
        "started_at = now()",
    ),
    relation(
        "policies",
        of("project_id"),
        "(project_id, action, stage) values ('{project}', '{unique}', 'production')",
        "enabled = false",
    ),
    relation(
        "approvals",
        of("project_id"),
        "(project_id, user_id, decision) values ('{project}', '{user}', 'approved')",
        "decision = 'refused'",
    ),
    relation(
        "secrets",
        of("project_id"),
        "(project_id, name, ciphertext, key_id) values ('{project}', 'A{unique}', '\\x00', 'x')",
        "key_id = 'y'",
    ),
    relation("secrets.ciphertext", Scope::Given("project_id"), "", "ciphertext = '\\x01'"),
    relation(
        "domains",
        of("project_id"),
        "(project_id, name) values ('{project}', '{unique}.example')",
        "verified_at = now()",
    ),
    relation(
        "mails",
        of("project_id"),
        "(project_id, sender, recipients, size_bytes, location) values ('{project}', 'x', '{x}', 1, 'x')",
        "subject = 'x'",
    ),
    relation(
        "metric_samples",
        of("project_id"),
        "(project_id, metric, value) values ('{project}', 'x', 1)",
        "value = 2",
    ),
    relation(
        "schedules",
        of("project_id"),
        "(id, project_id, name, cron, kind, created_by)
         values (ops.uuid_v7(), '{project}', '{unique}', '0 3 * * *', 'backup', '{user}')",
        "enabled = false",
    ),
    relation("schedules.last_due_at", Scope::Given("project_id"), "", "last_due_at = now()"),
    relation(
        "schedule_runs",
        of("project_id"),
        "(schedule_id, project_id, due_at, state)
         select id, project_id, now() + interval '{n} days', 'skipped' from ops.schedules
         where project_id = '{project}' limit 1",
        "attempt = 1",
    ),
    relation(
        "leaders",
        Scope::Platform,
        "(name, holder, lease, expires_at) values ('{unique}', 'x', 1, now())",
        "holder = 'y'",
    ),
    relation(
        "retention_settings",
        Scope::Given("true"),
        "(table_name, family, days) values ('{unique}', 'logs', 1)",
        "days = 1",
    ),
    relation(
        "reconciler_reports",
        Scope::Platform,
        "(host_id, name, started_at, looked_at, acted, would, mode)
         values ('{host}', '{word}', now(), 0, 0, 0, 'act')",
        "looked_at = 1",
    ),
    relation("reconciler_requests", Scope::Platform, "(host_id) values ('{host}')", "answered_at = now()"),
    relation(
        "quarantine",
        Scope::Platform,
        "(host_id, kind, name, original_name, production, reason)
         values ('{host}', 'database', '{unique}', 'x', false, 'x')",
        "reason = 'y'",
    ),
];
