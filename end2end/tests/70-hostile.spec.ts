// Branch names made to break out: of a shell, of the repository's folder, of a column. Git's own client refuses some
// of them, so the same push is also made by hand, packet by packet.
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Ops } from '../support/ops';
import { expect, test } from '../support/test';

const LONG = 'a'.repeat(300);
const NAMES: [string, RegExp][] = [
  ['x; touch pwned $(id)', /letters, digits and/],
  ['x;touch${IFS}pwned$(id)', /letters, digits and/],
  ['../../etc', /git does not take this as the name of a branch/],
  [LONG, /1 to 200 bytes/],
  ['x\u0007bell', /letters, digits and/],
];

test('hostile names are refused by hand-made pushes and nothing escapes', async ({ ops, clone }) => {
  const before = { branches: (await ops.branches()).map((b) => b.name), refs: await clone.git('ls-remote', 'origin') };
  const sha = await clone.git('rev-parse', 'origin/main');
  const token = await ops.token('hostile');
  for (const [name, message] of NAMES) {
    const said = await pushByHand(ops, token, sha, `refs/heads/${name}`);
    expect(said, name).toMatch(message);
    expect(said, name).toContain('pre-receive hook declined');
    // What people read has nothing that rings in their terminal; git's own report, which names the ref, does not show.
    expect(said.replace(/ng refs.*/g, ''), name).not.toContain('\u0007');
  }
  const tag = await pushByHand(ops, token, sha, 'refs/tags/../../heads/x');
  expect(tag).toContain('pre-receive hook declined');
  expect((await ops.branches()).map((b) => b.name)).toEqual(before.branches);
  expect(await clone.git('ls-remote', 'origin')).toBe(before.refs);
  expect(find(ops.installation.dataDir, /pwned|^a{200}/)).toEqual([]);
  expect(find(join(ops.installation.dataDir, 'git'), /^etc$/)).toEqual([]);
  expect(readdirSync(ops.installation.dataDir)).not.toContain('etc');
});

test("git's own client is told what is wrong with a name", async ({ ops, clone }) => {
  await clone.checkout('main');
  for (const [name, message] of [
    ['x;touch${IFS}pwned$(id)', /letters, digits and - _ \. \/ \+ # @ = , only/],
    [LONG, /1 to 200 bytes/],
  ] as const) {
    const answer = await clone.attempt('push', 'origin', `HEAD:refs/heads/${name}`);
    expect(answer.code).toBe(1);
    expect(answer.stderr).toMatch(message);
    expect(answer.stderr).toContain('Nothing was stored.');
  }
  expect(await clone.git('ls-remote', 'origin')).not.toMatch(/pwned|aaaa/);
  expect(find(ops.installation.dataDir, /pwned/)).toEqual([]);
});

/// What git-receive-pack answers to a push of one ref to a commit that the server has already.
async function pushByHand(ops: Ops, token: string, sha: string, ref: string): Promise<string> {
  const headers = { Authorization: `Basic ${Buffer.from(`git:${token}`).toString('base64')}` };
  const url = `${ops.baseUrl}/git/demo.git`;
  const greeting = await fetch(`${url}/info/refs?service=git-receive-pack`, { headers });
  expect(greeting.status).toBe(200);
  const command = Buffer.from(`${'0'.repeat(40)} ${sha} ${ref}\0 report-status side-band-64k agent=end2end`);
  const length = (command.length + 4).toString(16).padStart(4, '0');
  // A pack without objects: magic, version 2, count 0, and its checksum.
  const pack = Buffer.from('5041434b0000000200000000', 'hex');
  const checksum = createHash('sha1').update(pack).digest();
  const answer = await fetch(`${url}/git-receive-pack`, {
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/x-git-receive-pack-request' },
    body: Buffer.concat([Buffer.from(length), command, Buffer.from('0000'), pack, checksum]),
  });
  return `${answer.status} ${await answer.text()}`;
}

/// Names of files below a folder; the clusters' own folders belong to PostgreSQL.
function find(folder: string, name: RegExp): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const at = join(folder, entry.name);
    const here = name.test(entry.name) ? [at] : [];
    const skip = !entry.isDirectory() || ['control', 'tenants'].includes(entry.name);
    return skip ? here : [...here, ...find(at, name)];
  });
}
