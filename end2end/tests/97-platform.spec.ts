// The platform's own pages, for its administrators: they are current, they act, they work without script, on a phone
// and for those who do not see them.
import type { Page } from '@playwright/test';
import { findings } from '../support/axe';
import { WITHIN_A_SECOND, expect, test } from '../support/test';

const PAGES = [
  { path: '/admin', title: 'Status', ready: 'figures' },
  { path: '/admin/queue', title: 'Queue', ready: 'queue-counts' },
  { path: '/admin/hosts', title: 'Hosts', ready: 'hosts' },
  { path: '/admin/schedules', title: 'Schedules', ready: 'schedules' },
] as const;

async function expectFits(page: Page): Promise<void> {
  const [content, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  expect(content).toBeLessThanOrEqual(screen ?? 0);
}

for (const colorScheme of ['light', 'dark'] as const) {
  test(`every page opens from the rail, and axe finds nothing, in ${colorScheme}`, async ({ another }) => {
    const context = await another({ colorScheme });
    const page = await context.newPage();
    await page.goto('/');
    for (const { title, ready } of PAGES) {
      await page.getByRole('navigation').getByRole('link', { name: title, exact: true }).last().click();
      await expect(page.getByRole('heading', { level: 1, name: title })).toBeVisible();
      await expect(page.getByTestId(ready)).toBeVisible();
      expect(await findings(page)).toEqual([]);
    }
  });
}

test('a phone shows them whole', async ({ another }) => {
  const context = await another({ viewport: { width: 390, height: 844 } });
  const page = await context.newPage();
  for (const { path, ready } of PAGES) {
    await page.goto(path);
    await expect(page.getByTestId(ready)).toBeVisible();
    await expectFits(page);
    expect(await findings(page)).toEqual([]);
  }
});

test('they render without script, and a worker is drained by its form', async ({ another, ops }) => {
  const context = await another({ javaScriptEnabled: false });
  const page = await context.newPage();
  for (const { path, title, ready } of PAGES) {
    await page.goto(path);
    await expect(page.getByRole('heading', { level: 1, name: title })).toBeVisible();
    await expect(page.getByTestId(ready)).toBeVisible();
  }
  await page.goto('/admin/hosts');
  const host = page.getByTestId('hosts').getByRole('listitem').first();
  await host.getByRole('button', { name: 'Drain' }).click();
  await expect(page).toHaveURL(/\/admin\/hosts/);
  await expect(host.getByText('Draining', { exact: true })).toBeVisible();
  const draining = await ops.run('worker', 'list');
  expect(draining).toContain('draining');
  await host.getByRole('button', { name: 'Take runs again' }).click();
  await expect(host.getByText('Alive', { exact: true })).toBeVisible();
});

test('while its worker drains a run waits in the queue, says why, and goes on afterwards', async ({
  page,
  ops,
  expectedErrors,
}) => {
  await page.goto('/admin/hosts');
  const host = page.getByTestId('hosts').getByRole('listitem').first();
  await host.getByRole('button', { name: 'Drain' }).click();
  await expect(host.getByText('Draining', { exact: true })).toBeVisible({ timeout: WITHIN_A_SECOND });

  await page.goto('/admin/queue');
  const { run_id: run } = JSON.parse(
    await ops.run('env', 'create', 'demo', 'development', 'feature-x', '--json'),
  ) as { run_id: string };
  const row = page.locator(`tr[data-run="${run}"]`);
  // The page hears of it by itself.
  await expect(row).toBeVisible({ timeout: WITHIN_A_SECOND });
  await expect(row).toContainText('Workers are draining');
  await row.getByRole('spinbutton', { name: 'Priority' }).fill('7');
  await row.getByRole('button', { name: 'Set the priority' }).click();
  await expect(page.getByTestId('toast')).toContainText('The priority is set');
  expect(await ops.run('queue', 'list')).toContain(run);

  await row.getByRole('button', { name: 'Cancel' }).click();
  await expect(row).toBeHidden({ timeout: WITHIN_A_SECOND });
  expect((await ops.showRun(run)).status).toBe('canceled');

  // The same once more, from its page.
  await page.goto(`/projects/demo/builds/${run}`);
  await page.getByRole('button', { name: 'Retry' }).click();
  await page.getByTestId('rebuilt').getByRole('link').click();
  await expect(page).not.toHaveURL(new RegExp(run));
  const again = page.url().split('/').at(-1) ?? '';
  // The address changes before the page does.
  await expect(page.getByTestId('verdict')).not.toHaveText('Canceled', { timeout: WITHIN_A_SECOND });
  await page.getByText('Events', { exact: true }).click();
  // An answer that is lost on the way is asked for again.
  expectedErrors.push(/ERR_CONNECTION_RESET/);
  await page.route('**/run/events*', (route) => route.abort('connectionreset'), { times: 1 });
  await ops.run('run', 'cancel', again);
  await expect(page.getByTestId('verdict')).toHaveText('Canceled', { timeout: WITHIN_A_SECOND });
  await expect(page.getByTestId('events').getByText('canceled')).toBeVisible({ timeout: WITHIN_A_SECOND });

  await page.goto('/admin/hosts');
  await host.getByRole('button', { name: 'Take runs again' }).click();
  await expect(host.getByText('Alive', { exact: true })).toBeVisible({ timeout: WITHIN_A_SECOND });
});

test('a schedule is made with what its pattern means, changed, run, stopped and deleted', async ({
  page,
  ops,
  expectedErrors,
}) => {
  // A pattern that does not read, on purpose.
  expectedErrors.push(/422/);
  // The address asks too, and comes alive.
  await page.goto('/projects/demo/schedules?new');
  const form = page.getByTestId('schedule-form');
  await form.getByLabel('Branch').selectOption('feature-x');
  await form.getByLabel('Name').fill('Every Monday');
  await form.getByLabel('When, as a cron pattern').fill('30 2 * * 1');
  await form.getByLabel('Time zone').fill('Europe/Brussels');
  await expect(page.getByTestId('preview')).toContainText('02:30');
  await expect(page.getByTestId('preview').getByRole('listitem')).toHaveCount(3);
  expect(await findings(page)).toEqual([]);
  await form.getByLabel('When, as a cron pattern').fill('30 2 * *');
  await expect(page.getByTestId('preview')).toContainText('does not read as five fields');
  await form.getByLabel('When, as a cron pattern').fill('30 2 * * 1');
  await form.getByRole('button', { name: 'Make the schedule' }).click();
  const row = page.locator('tr[data-schedule="Every Monday"]');
  await expect(row).toContainText('Builds feature-x');
  await expect(row).toContainText('Mon ');

  await row.locator('summary').click();
  await row.getByRole('link', { name: 'Edit…' }).click();
  await page.getByTestId('schedule-form').getByLabel('Name').fill('Mondays');
  await page.getByTestId('schedule-form').getByRole('button', { name: 'Save' }).click();
  const renamed = page.locator('tr[data-schedule="Mondays"]');
  await expect(renamed).toBeVisible();

  await renamed.getByRole('button', { name: 'Run now' }).click();
  const last = renamed.getByRole('link', { name: 'Run' });
  await expect(last).toBeVisible();
  const run = (await last.getAttribute('href'))?.split('/').at(-1) ?? '';
  await ops.run('run', 'cancel', run);
  // The page hears of that too.
  await expect(renamed.getByRole('img', { name: 'Canceled' })).toBeVisible({ timeout: WITHIN_A_SECOND });

  await renamed.locator('summary').click();
  await renamed.getByRole('button', { name: 'Stop' }).click();
  await expect(renamed).toContainText('Stopped');

  await renamed.locator('summary').click();
  await renamed.getByRole('link', { name: 'Delete…' }).click();
  await page.getByTestId('delete-schedule').getByRole('button', { name: 'Delete the schedule' }).click();
  await expect(renamed).toBeHidden();
});

test('the hosts say what they would remove', async ({ page }) => {
  await page.goto('/admin');
  await expect(page.getByTestId('figures')).toContainText('PostgreSQL');
  // What they found when they last looked.
  const servers = page.locator('.reconcilers').getByRole('row', { name: 'servers' });
  await expect(servers).toBeVisible({ timeout: 60_000 });
  await expect(servers).toContainText('Acts');
  await page.getByRole('button', { name: 'What would be removed?' }).click();
  // Each host's worker answers within seconds.
  await expect(page.getByTestId('dry-run').getByRole('heading', { level: 3 }).first()).toBeVisible();
  await expect(page.getByTestId('dry-run')).not.toContainText('Waiting for its answer', { timeout: 60_000 });
  expect(await findings(page)).toEqual([]);
  await page.getByRole('link', { name: 'Close' }).click();
  await expect(page.getByTestId('dry-run')).toBeHidden();
});

test('another machine is told, once, how to join', async ({ page }) => {
  await page.goto('/admin/hosts');
  await page.getByTestId('add-host').click();
  await page.getByTestId('invite').getByLabel('Labels').fill('ssd');
  await page.getByTestId('invite').getByRole('button', { name: 'Make the token' }).click();
  const command = page.getByTestId('join-command');
  await expect(command).toContainText(
    /^ops worker join https:\/\/127\.0\.0\.1:\d+ --token \S{20,} --ca-fingerprint [0-9a-f:]{64,}$/i,
  );
  expect(await findings(page)).toEqual([]);
  await page.getByRole('button', { name: 'Close' }).click();
  await page.getByTestId('add-host').click();
  await expect(command).toHaveCount(0);
  await expect(page.getByTestId('invite')).toBeVisible();
});

test("an environment's password is shown to who asks", async ({ page, ops }) => {
  // The build that runs now: what it replaced has no password any more.
  const run = (await ops.branch('main')).environment?.run_id ?? '';
  await page.goto(`/projects/demo/builds/${run}`);
  await page.getByRole('button', { name: 'Show the password' }).click();
  await expect(page.getByTestId('admin-password')).toHaveText(/^\S{12,}$/);
});

test('the command line tells the same, and ends with 0 when all is well', async ({ ops }) => {
  const { problems } = JSON.parse((await ops.attempt(['status', '--json'])).stdout) as { problems: unknown[] };
  expect(problems).toEqual([]);
  expect((await ops.attempt(['status'])).code).toBe(0);
});
