// The installation's own ops database, for what a test cannot bring about from outside: another machine that is away,
// data without an owner, a person who is no administrator.
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Ops } from './ops';

const execute = promisify(execFile);

/// What a query answers: a row a line, columns separated by tabs.
export async function sql(ops: Ops, text: string): Promise<string> {
  const { dataDir } = ops.installation;
  const password = readFileSync(join(dataDir, 'secrets/control-superuser.password'), 'utf8').trim();
  const options = ['--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--field-separator=\t'];
  const where = ['--host', join(dataDir, 'control/socket'), '--username', 'postgres', '--dbname', 'ops'];
  const { stdout } = await execute('psql', [...options, ...where, '--set', 'ON_ERROR_STOP=1', '--command', text], {
    env: { PATH: process.env.PATH, PGPASSWORD: password },
  });
  return stdout.trim();
}

/// Another machine of the installation, whose worker is away and whose data is newer than the ops database: with an
/// environment of production on it, and two things in quarantine.
export class AwayHost {
  readonly name = 'far-away';
  /// Of no role that is there: it never logged in.
  private readonly role = `ops_host_${'ab'.repeat(16)}`;

  private constructor(private readonly ops: Ops) {}

  static async add(ops: Ops): Promise<AwayHost> {
    const host = new AwayHost(ops);
    await host.remove();
    await sql(
      ops,
      `insert into ops.hosts (name, db_role, joined_at, epoch, file_epoch, epoch_standing)
           values ('${host.name}', '${host.role}', now(), 3, 7, 'behind');
       insert into ops.environments (project_id, stage, state, git_ref, commit_sha, database_name, hostname, host_id)
           select p.id, 'production', 'running', 'refs/heads/main', repeat('a', 40), 'far_away', 'far-away', h.id
           from ops.projects p, ops.hosts h where p.slug = 'demo' and h.name = '${host.name}';
       insert into ops.quarantine (host_id, kind, name, original_name, production, reason, size_bytes, delete_after)
           select h.id, 'database', v.name || '-1', v.name, v.production, 'no environment owns it', 4200000,
               case when v.production then null else now() + interval '7 days' end
           from ops.hosts h, (values ('shop_library', false), ('shop_production', true)) as v (name, production)
           where h.name = '${host.name}'`,
    );
    return host;
  }

  async remove(): Promise<void> {
    const own = `(select id from ops.hosts where name = '${this.name}')`;
    await sql(
      this.ops,
      `delete from ops.quarantine where host_id in ${own};
       delete from ops.reconciler_requests where host_id in ${own};
       delete from ops.environments where host_id in ${own};
       delete from ops.hosts where name = '${this.name}'`,
    );
  }
}

/// Somebody with a role in the demo project and nothing beside it. What they are signed in with, for a browser.
export async function memberCookie(ops: Ops, role: string): Promise<{ name: string; value: string; url: string }> {
  const secret = randomBytes(32).toString('base64url');
  const hash = createHash('sha256').update(secret).digest('hex');
  await sql(
    ops,
    `with person as (
         insert into ops.users (name, email) values ('Mara ${role}', '${role}-${hash.slice(0, 8)}@example.test') returning id
     ), membership as (
         insert into ops.project_memberships (project_id, user_id, role)
         select p.id, person.id, '${role}' from ops.projects p, person where p.slug = 'demo'
     )
     insert into ops.sessions (hash, user_id, provider, expires_at)
     select decode('${hash}', 'hex'), id, 'link', now() + interval '1 hour' from person`,
  );
  return { name: 'ops_session', value: secret, url: ops.baseUrl };
}
