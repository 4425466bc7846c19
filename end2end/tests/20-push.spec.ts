// From a developer's push to a running Odoo, watched in the browser and never reloaded.
import { BoardPage } from '../support/board';
import { BUILD, WITHIN_A_SECOND, expect, test } from '../support/test';

test('a push appears on the board, streams its log, turns green and connects', async ({ page, clone, ops }) => {
  const board = await new BoardPage(page).open();
  await page.evaluate(() => Object.assign(window, { neverReloaded: true }));
  await clone.checkout('feature-x');
  clone.write('README.md', '# Changed by a test\n');
  const sha = await clone.commit('A change made by a test');

  const said = await clone.push('feature-x');
  expect(said).toContain(`feature-x ${sha.slice(0, 8)} is being built`);
  const run = await ops.runOfCommit(sha);
  expect(said).toContain(`/projects/demo/builds/${run.id}`);
  const dot = board.dots('feature-x').and(page.locator(`[href="/projects/demo/builds/${run.id}"]`));
  await expect(dot).toBeVisible({ timeout: WITHIN_A_SECOND });
  await expect(board.card('feature-x')).toContainText('A change made by a test');

  await board.card('feature-x').getByRole('link', { name: 'Logs of feature-x' }).click();
  await expect(page).toHaveURL(new RegExp(`/builds/${run.id}`));
  await expect(page.getByTestId('build')).toBeVisible();
  // Lines come while the build runs: the count grows before there is a verdict.
  const lines = page.locator('li.log-line');
  await expect(lines.first()).toBeVisible({ timeout: BUILD });
  await expect(page.getByTestId('verdict')).toHaveText('Running');
  const before = await count(page.getByTestId('log-count'));
  await expect
    .poll(async () => (await count(page.getByTestId('log-count'))) > before, { timeout: BUILD })
    .toBe(true);
  const shown = await lines.evaluateAll((all) => all.map((line) => Number(line.getAttribute('data-seq'))));
  expect(shown.length).toBeGreaterThan(0);
  expect(shown).toEqual(shown.map((_, index) => (shown[0] ?? 0) + index));

  await expect(page.getByTestId('verdict')).toHaveText('Succeeded', { timeout: BUILD });
  const logged = await ops.logs(run.id);
  await expect.poll(() => count(page.getByTestId('log-count'))).toBe(logged.length);
  expect(logged.map((line) => line.seq)).toEqual(logged.map((_, index) => index + 1));
  const steps = page.locator('[data-step]');
  for (const step of ['sources', 'database', 'install', 'start', 'gate', 'route']) {
    await expect(steps.and(page.locator(`[data-step="${step}"]`)).getByRole('img', { name: 'Succeeded', exact: true })).toBeVisible();
  }
  expect(await page.evaluate(() => 'neverReloaded' in window)).toBe(true);

  const [odoo] = await Promise.all([
    page.context().waitForEvent('page'),
    page.getByTestId('build').getByRole('link', { name: 'Connect' }).click(),
  ]);
  expect(new URL(odoo.url() === 'about:blank' ? (await url(odoo)) : odoo.url()).host).not.toBe(new URL(ops.baseUrl).host);
  await expect(odoo.locator('form.oe_login_form input[name="login"]')).toBeVisible({ timeout: 60_000 });
  expect(new URL(odoo.url()).pathname).toBe('/web/login');
  expect(new URL(odoo.url()).hostname).toMatch(/^demo-feature-x-[0-9a-f]{6}\.localhost$/);

  // Back on the board without having been there when it turned green.
  await page.goBack();
  await expect(dot.getByRole('img', { name: 'Succeeded', exact: true })).toBeVisible();
});

test('a host that is no environment gets a clear page, not the console', async ({ page, ops, expectedErrors }) => {
  expectedErrors.push(/404/);
  const host = new URL(ops.baseUrl);
  host.hostname = `nothing-here.${host.hostname}`;
  const answer = await page.goto(host.href);
  expect(answer?.status()).toBe(404);
  await expect(page.locator('h1')).toBeVisible();
  await expect(page.getByTestId('sign-in')).toHaveCount(0);
});

async function count(of: import('@playwright/test').Locator): Promise<number> {
  return Number((await of.innerText()).replace(/\D/g, ''));
}

async function url(page: import('@playwright/test').Page): Promise<string> {
  await page.waitForURL(/^http/);
  return page.url();
}
