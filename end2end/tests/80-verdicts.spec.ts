// What developers get wrong, and what the build says to it. All is pushed at once and built while the tests wait.
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Clone } from '../support/git';
import { BUILD, expect, test } from '../support/test';

interface Case {
  branch: string;
  make: (clone: Clone) => void;
  status: 'failed' | 'warning' | 'succeeded';
  /// What the build page and `env wait` give as the reason; for green and yellow there is none.
  reason?: RegExp;
  /// What the log has.
  log?: RegExp[];
}

const CASES: Case[] = [
  {
    branch: 'broken-test',
    make: (clone) => clone.addon('broken_test'),
    status: 'failed',
    reason: /test/i,
    log: [/FAIL: TestSum\.test_sum/, /Traceback \(most recent call last\)/, /AssertionError: 2 != 3/],
  },
  {
    branch: 'warns',
    make: (clone) => clone.addon('warns'),
    status: 'warning',
    log: [/the fixture warns, as it should/],
  },
  {
    branch: 'unknown-dep',
    make: (clone) => clone.addon('unknown_dep'),
    status: 'failed',
    reason: /unknown_dep|module_that_does_not_exist/,
  },
  {
    branch: 'not-python',
    make: (clone) => clone.addon('not_python'),
    status: 'failed',
    reason: /not_python\/__manifest__\.py/,
  },
  {
    branch: 'link-out',
    make: (clone) => {
      clone.addon('warns');
      symlinkSync('../../../../etc/passwd', join(clone.tree, 'warns/passwd'));
    },
    status: 'failed',
    reason: /out of the tree.*warns\/passwd/s,
  },
  {
    branch: 'no-such-requirement',
    make: (clone) => {
      clone.addon('warns');
      clone.write('requirements.txt', 'odooops-is-no-package-of-this-name==9.9.9\n');
    },
    status: 'failed',
    reason: /odooops-is-no-package-of-this-name/,
    log: [/No matching distribution found for odooops-is-no-package-of-this-name==9\.9\.9/],
  },
  {
    branch: 'long-line',
    make: (clone) => clone.addon('long_line'),
    status: 'succeeded',
    log: [/^after the long line$/m],
  },
];

let runs: Record<string, string> = {};

test.beforeAll(async ({ ops }) => {
  const clone = await Clone.of(ops);
  const heads: Record<string, string> = {};
  for (const { branch, make } of CASES) {
    await clone.empty(branch);
    make(clone);
    heads[branch] = await clone.commit(`A fixture: ${branch}`);
  }
  // By force: after a failure another worker begins here again.
  await clone.push('--force', ...Object.keys(heads));
  for (const [branch, sha] of Object.entries(heads)) runs[branch] = (await ops.runOfCommit(sha)).id;
  clone.remove();
});

for (const { branch, status, reason, log } of CASES) {
  test(`${branch} ends as ${status}${reason ? ' with its reason' : ''}`, async ({ page, ops }) => {
    const id = runs[branch] ?? '';
    const { code, run } = await ops.wait(id);
    expect(run.status).toBe(status);
    expect(code).toBe(status === 'failed' ? 1 : 0);
    const lines = await ops.logs(id);
    expect(lines.map((line) => line.seq)).toEqual(lines.map((_, index) => index + 1));
    const text = lines.map((line) => line.message).join('\n');
    for (const wanted of log ?? []) expect(text).toMatch(wanted);
    // Nothing of this machine shows in what tenants read.
    expect(text).not.toContain('root:x:0:0');

    await page.goto(`/projects/demo/builds/${id}`);
    const word = { failed: 'Failed', warning: 'Succeeded with warnings', succeeded: 'Succeeded' }[status];
    await expect(page.getByTestId('verdict')).toHaveText(word);
    if (reason) {
      expect(run.error_message).toMatch(reason);
      expect(run.error_message).not.toContain(ops.installation.dataDir);
      await expect(page.getByTestId('reason')).toContainText(reason);
    } else {
      await expect(page.getByTestId('reason')).toHaveCount(0);
    }
  });
}

test('a red build opens its log at the first error', async ({ page, ops }) => {
  test.setTimeout(BUILD);
  const id = runs['broken-test'] ?? '';
  await ops.wait(id);
  const first = (await ops.logs(id)).find((line) => line.level === 'error');
  expect(first).toBeDefined();
  await page.goto(`/projects/demo/builds/${id}`);
  await expect(page.locator(`li.log-line[data-seq="${first?.seq}"]`)).toBeInViewport();
});
