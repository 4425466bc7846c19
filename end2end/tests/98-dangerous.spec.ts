// What cannot be taken back is asked about: the question says what stops, a refusal stands in it and keeps what was
// typed, and all of it works without script. And who is no administrator is not alarmed by what is none of theirs.
import type { Page } from '@playwright/test';
import { findings } from '../support/axe';
import { AwayHost, memberCookie, sql } from '../support/database';
import { BoardPage } from '../support/board';
import type { Ops } from '../support/ops';
import { WITHIN_A_SECOND, expect, test } from '../support/test';

/// Lists that nobody announces a change of are asked for again every ten seconds.
const ASKED_AGAIN = 30_000;

test.describe('a machine that is away', () => {
  let host: AwayHost;

  test.beforeEach(async ({ ops }) => {
    host = await AwayHost.add(ops);
  });

  test.afterEach(async () => {
    await host.remove();
  });

  test('it acts again only when somebody says so, and a refusal stays in the question', async ({
    page,
    ops,
    expectedErrors,
  }) => {
    // Refused, on purpose.
    expectedErrors.push(/409/);
    await page.goto('/admin');
    const reports = page.locator(`section[data-host="${host.name}"]`);
    await expect(reports.getByTestId('only-reports')).toBeVisible();
    await expect(page.getByTestId('problems')).toContainText(host.name);
    await reports.getByRole('link', { name: `Let it act again…: ${host.name}` }).click();
    const form = page.getByTestId('confirm-host');
    await expect(form).toContainText("Production's stay");
    expect(await findings(page)).toEqual([]);

    const standing = (text: string) =>
      sql(ops, `update ops.hosts set epoch_standing = '${text}' where name = '${host.name}'`);
    await standing('agrees');
    await form.getByRole('button', { name: 'Let it act' }).click();
    await expect(form.getByRole('alert')).toContainText(/\w/);
    await standing('behind');
    await form.getByRole('button', { name: 'Let it act' }).click();
    await expect(form).toBeHidden();
    await expect(page.getByTestId('toast')).toContainText('acts again');
    await expect(reports.getByTestId('only-reports')).toBeHidden({ timeout: WITHIN_A_SECOND });
    expect(await sql(ops, `select epoch, epoch_standing from ops.hosts where name = '${host.name}'`)).toBe('8\tagrees');
  });

  test('data is put back, or deleted by who repeats its name', async ({ page, ops, expectedErrors }) => {
    expectedErrors.push(/422/);
    await page.goto('/admin');
    const row = (name: string) => page.getByTestId('quarantine').getByRole('row', { name });
    await row('shop_library').getByRole('button', { name: 'Put back: shop_library' }).click();
    await expect(row('shop_library')).toContainText('Its host puts it back');

    await row('shop_production').getByRole('link', { name: 'Delete…: shop_production' }).click();
    const form = page.getByTestId('delete-quarantined');
    await expect(form).toContainText("This is production's data");
    expect(await findings(page)).toEqual([]);
    const name = form.getByLabel('Repeat its name');
    await name.fill('shop_library');
    await form.getByRole('button', { name: 'Delete for good' }).click();
    await expect(form.getByRole('alert')).toContainText('repeat its name: shop_production');
    // The list below changes, and what is typed stays.
    await sql(ops, "update ops.quarantine set error = 'the disk is full' where original_name like 'shop_%'");
    await expect(row('shop_production')).toContainText('the disk is full', { timeout: ASKED_AGAIN });
    await expect(name).toHaveValue('shop_library');
    await name.fill('shop_production');
    await form.getByRole('button', { name: 'Delete for good' }).click();
    await expect(form).toBeHidden();
    await expect(row('shop_production')).toContainText('Its host deletes it');
    const asked = `select original_name from ops.quarantine where delete_requested_at is not null`;
    expect(await sql(ops, asked)).toBe('shop_production');

    // The next question knows nothing of the last one's refusal.
    await row('shop_library').getByRole('link', { name: 'Delete…: shop_library' }).click();
    await expect(form.getByRole('alert')).toHaveCount(0);
    await form.getByRole('link', { name: 'Cancel' }).click();
    await expect(form).toBeHidden();
  });

  test('it is revoked by who repeats its name, for production is on it', async ({ page, expectedErrors }) => {
    expectedErrors.push(/422/);
    await page.goto('/admin/hosts');
    const panel = page.locator(`li[data-host="${host.name}"]`);
    await expect(panel.getByText('Silent', { exact: true })).toBeVisible();
    // Nobody there would hear of it.
    await expect(panel.getByRole('button', { name: /Drain|Take runs again/ })).toHaveCount(0);
    await panel.getByRole('link', { name: `Revoke…: ${host.name}` }).click();
    const form = page.getByTestId('revoke');
    await expect(form).toContainText('1 environment on it is not reached any more');
    await expect(form).toContainText('1 of them is production');
    expect(await findings(page)).toEqual([]);
    await form.getByLabel('Repeat its name').fill('another');
    await form.getByRole('button', { name: 'Revoke the host' }).click();
    await expect(form.getByRole('alert')).toContainText(`repeat its name: ${host.name}`);
    await expect(form.getByLabel('Repeat its name')).toHaveValue('another');
    await form.getByLabel('Repeat its name').fill(host.name);
    await form.getByRole('button', { name: 'Revoke the host' }).click();
    await expect(form).toBeHidden();
    await expect(panel.getByText('Revoked', { exact: true })).toBeVisible({ timeout: WITHIN_A_SECOND });
    await expect(panel.getByRole('link', { name: /Revoke/ })).toHaveCount(0);
  });

  test('who asks it what it would remove is not left waiting for ever', async ({ page }) => {
    await page.clock.install();
    await page.goto('/admin');
    await page.getByRole('button', { name: 'What would be removed?' }).click();
    const answers = page.getByTestId('dry-run');
    const own = answers.locator('section', { hasNotText: host.name });
    const away = answers.locator('section', { hasText: host.name });
    await expect(away).toContainText('Waiting for its answer');
    await expect(own.first()).not.toContainText('Waiting for its answer', { timeout: 60_000 });
    await expect(page.getByTestId('look-again')).toBeHidden();
    await page.clock.runFor(61_000);
    await expect(away).toContainText('No answer within a minute');
    await page.getByTestId('look-again').click();
    await expect(away).toContainText('Waiting for its answer');
  });

  test.describe('without script', () => {
    test.use({ javaScriptEnabled: false });

    test('its questions are asked and answered, refusals included', async ({ page, ops }) => {
      await page.goto('/admin');
      await page.getByRole('link', { name: 'Delete…: shop_production' }).click();
      const deletion = page.getByTestId('delete-quarantined');
      await deletion.getByLabel('Repeat its name').fill('shop_library');
      await deletion.getByRole('button', { name: 'Delete for good' }).click();
      await expect(deletion.getByRole('alert')).toContainText('repeat its name: shop_production');
      await deletion.getByLabel('Repeat its name').fill('shop_production');
      await deletion.getByRole('button', { name: 'Delete for good' }).click();
      await expect(page).toHaveURL(/\/admin$/);
      await expect(page.getByRole('row', { name: 'shop_production' })).toContainText('Its host deletes it');

      await page.getByRole('button', { name: 'Put back: shop_library' }).click();
      await expect(page.getByRole('row', { name: 'shop_library' })).toContainText('Its host puts it back');

      await page.getByRole('link', { name: `Let it act again…: ${host.name}` }).click();
      await page.getByTestId('confirm-host').getByRole('button', { name: 'Let it act' }).click();
      await expect(page).toHaveURL(/\/admin$/);
      await expect(page.locator(`section[data-host="${host.name}"]`).getByTestId('only-reports')).toHaveCount(0);

      await page.getByRole('button', { name: 'What would be removed?' }).click();
      await expect(page.getByTestId('dry-run')).toContainText('Waiting for its answer');
      await page.getByTestId('look-again').click();
      await expect(page.getByTestId('dry-run')).toContainText('Waiting for its answer');

      await page.goto('/admin/hosts');
      await page.getByRole('link', { name: `Revoke…: ${host.name}` }).click();
      const revoke = page.getByTestId('revoke');
      await revoke.getByLabel('Repeat its name').fill('another');
      await revoke.getByRole('button', { name: 'Revoke the host' }).click();
      await expect(revoke.getByRole('alert')).toContainText(`repeat its name: ${host.name}`);
      await revoke.getByLabel('Repeat its name').fill(host.name);
      await revoke.getByRole('button', { name: 'Revoke the host' }).click();
      await expect(page).toHaveURL(/\/admin\/hosts$/);
      await expect(page.locator(`li[data-host="${host.name}"]`).getByText('Revoked', { exact: true })).toBeVisible();
      expect(await sql(ops, `select count(*) from ops.hosts where revoked_at is not null`)).toBe('1');
    });
  });
});

test.describe('without script', () => {
  test.use({ javaScriptEnabled: false });

  test('no token is made that nobody would see', async ({ page, ops }) => {
    const tokens = () => sql(ops, 'select count(*) from ops.host_tokens');
    const before = await tokens();
    await page.goto('/admin/hosts?new');
    const form = page.getByTestId('invite');
    await expect(form).toContainText('ops worker token');
    await form.getByLabel('Labels').fill('ssd');
    await form.getByLabel('Labels').press('Enter');
    await page.goto('/admin/hosts');
    expect(await tokens()).toBe(before);
  });
});

/// A build of production that waits: nothing takes it while the worker drains.
async function waiting(ops: Ops, deeds: (run: string) => Promise<void>): Promise<void> {
  const [worker = ''] = (await sql(ops, 'select worker_id from ops.worker_heartbeats order by at desc limit 1')).split('\n');
  await ops.run('worker', 'drain', worker);
  try {
    const last = (await ops.branch('main')).runs.at(-1)?.id ?? '';
    await ops.run('run', 'rebuild', last);
    const run = (await ops.activeRuns()).find((run) => run.branch === 'main');
    expect(run).toBeDefined();
    await deeds(run?.id ?? '');
  } finally {
    for (const run of await ops.activeRuns()) await ops.attempt(['run', 'cancel', run.id]);
    await ops.run('worker', 'drain', worker, '--undo');
  }
}

async function cancelProduction(page: Page, ops: Ops, run: string): Promise<void> {
  const build = `/projects/demo/builds/${run}`;
  await page.goto('/admin/queue');
  const row = page.locator(`tr[data-run="${run}"]`);
  await row.getByRole('link', { name: /^Cancel: build \w{8}, main$/ }).click();
  const asked = page.getByTestId('cancel-production');
  await expect(asked).toContainText('what runs in production now stays');
  await asked.getByRole('link', { name: 'Cancel' }).click();
  await expect(asked).toHaveCount(0);
  expect((await ops.showRun(run)).status).toBe('queued');

  await page.goto(build);
  await page.getByRole('link', { name: 'Cancel build…' }).click();
  const question = page.getByTestId('ask-production');
  await question.getByRole('button', { name: 'Cancel build' }).click();
  await expect(page.getByTestId('verdict')).toHaveText('Canceled');
  await expect(question).toHaveCount(0);
  expect((await ops.showRun(run)).status).toBe('canceled');
}

test('what is done to a build of production is asked for twice', async ({ page, ops }) => {
  await waiting(ops, async (run) => {
    await cancelProduction(page, ops, run);
    const question = page.getByTestId('ask-production');
    for (const [link, yes] of [
      ['Rebuild…', 'Rebuild production'],
      ['Retry…', 'Retry for production'],
    ] as const) {
      await page.getByRole('link', { name: link }).click();
      await expect(question).toContainText('a fresh database');
      expect(await findings(page)).toEqual([]);
      await question.getByRole('button', { name: yes }).click();
      await expect(question).toHaveCount(0);
    }
    // The newest answer counts: what it leads to is the retry.
    const rebuilt = page.getByTestId('rebuilt').getByRole('link');
    await expect(rebuilt).toBeVisible();
    const made = (await rebuilt.getAttribute('href'))?.split('/').at(-1) ?? '';
    const newest = (await ops.runs())[0]?.id;
    expect(made).toBe(newest);

    const board = await new BoardPage(page).open();
    await board.card('main').locator('summary').click();
    await board.card('main').getByRole('link', { name: 'Rebuild…' }).click();
    await expect(question).toContainText('a fresh database');
    expect(await findings(page)).toEqual([]);
    await question.getByRole('button', { name: 'Rebuild production' }).click();
    await expect(question).toHaveCount(0);
    await expect(page.getByTestId('toast')).toContainText('The build of main has started');
    expect((await ops.runs())[0]?.id).not.toBe(newest);
  });
});

test.describe('without script', () => {
  test.use({ javaScriptEnabled: false });

  test('what is done to a build of production is asked for twice too', async ({ page, ops }) => {
    await waiting(ops, async (run) => {
      await cancelProduction(page, ops, run);
      await page.getByRole('link', { name: 'Retry…' }).click();
      await page.getByTestId('ask-production').getByRole('button', { name: 'Retry for production' }).click();
      await expect(page).not.toHaveURL(new RegExp(run));
      const made = page.url().split('/').at(-1) ?? '';
      expect((await ops.showRun(made)).status).toBe('queued');

      await page.goto('/projects/demo');
      await new BoardPage(page).card('main').locator('summary').click();
      await new BoardPage(page).card('main').getByRole('link', { name: 'Rebuild…' }).click();
      await page.getByTestId('ask-production').getByRole('button', { name: 'Rebuild production' }).click();
      await expect(page).toHaveURL(/\/projects\/demo$/);
      expect((await ops.runs())[0]?.id).not.toBe(made);
    });
  });
});

test("a developer's page of schedules is kept current, and does not say otherwise", async ({ another, ops }) => {
  const context = await another({ storageState: { cookies: [], origins: [] } });
  await context.addCookies([await memberCookie(ops, 'developer')]);
  const page = await context.newPage();
  const told: string[] = [];
  page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => told.push(String(payload))));
  await page.goto('/projects/demo/schedules');
  await new BoardPage(page).live();
  await expect.poll(() => told.some((text) => text.includes('"board"'))).toBe(true);
  expect(told.filter((text) => text.includes('"denied"'))).toEqual([]);
  await expect(page.getByTestId('live-end')).toHaveCount(0);
  // They see schedules and add none.
  await expect(page.getByTestId('new-schedule')).toHaveCount(0);
  await ops.run('schedule', 'create', 'Nightly', '--cron', '0 2 * * *', '--project', 'demo', '--branch', 'feature-x');
  const row = page.locator('tr[data-schedule="Nightly"]');
  await expect(row).toBeVisible({ timeout: ASKED_AGAIN });
  await expect(row.getByRole('button')).toHaveCount(0);
  await ops.run('schedule', 'delete', await sql(ops, "select id from ops.schedules where name = 'Nightly'"));
  await expect(row).toBeHidden({ timeout: ASKED_AGAIN });
});

test('a project with nothing but production is told what it needs for a schedule', async ({ page, ops }) => {
  await ops.run('project', 'create', 'only-production', '--name', 'Only production');
  await page.goto('/projects/only-production/schedules?new');
  const form = page.getByTestId('schedule-form');
  await expect(form.getByTestId('no-branch')).toContainText('Push a branch first');
  await expect(form.getByRole('button', { name: 'Make the schedule' })).toBeDisabled();
});

test('a schedule that is refused says so once, and not again in the next dialog', async ({ page, expectedErrors }) => {
  expectedErrors.push(/422/);
  await page.goto('/projects/demo/schedules');
  await page.getByTestId('new-schedule').click();
  const form = page.getByTestId('schedule-form');
  await form.getByLabel('Name').fill('Never');
  await form.getByLabel('When, as a cron pattern').fill('not a pattern');
  await form.getByRole('button', { name: 'Make the schedule' }).click();
  await expect(form.getByRole('alert')).toContainText('does not read');
  await expect(form.getByLabel('Name')).toHaveValue('Never');
  await form.getByRole('link', { name: 'Cancel' }).click();
  await page.getByTestId('new-schedule').click();
  await expect(form).toBeVisible();
  await expect(form.getByRole('alert')).toHaveCount(0);
});
