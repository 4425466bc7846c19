// The console without script: pages come complete from the server, and forms do the work.
import { BoardPage } from '../support/board';
import { BUILD, expect, test } from '../support/test';

test.use({ javaScriptEnabled: false });

test('projects, board, builds and a build render', async ({ page, ops }) => {
  const branch = await ops.branch('main');
  const run = branch.runs.at(-1)?.id ?? '';
  await ops.wait(run);
  await page.goto('/');
  await page.getByRole('link', { name: 'Demo library' }).click();
  const board = new BoardPage(page);
  for (const [stage, name] of [['production', 'main'], ['staging', 'staging']] as const) {
    await board.expectIn(stage, name);
  }
  await page.getByRole('navigation').getByRole('link', { name: 'Builds' }).click();
  await expect(page.getByTestId('builds').getByRole('row').first()).toBeVisible();
  await page.locator(`a[href="/projects/demo/builds/${run}"]`).first().click();
  await expect(page.getByTestId('verdict')).toHaveText('Succeeded');
  await expect(page.locator('li.log-line').first()).toBeVisible();
  await expect(page.locator('[data-step="install"]')).toBeVisible();
});

test('a branch is moved by its form', async ({ page, ops }) => {
  test.setTimeout(BUILD);
  if ((await ops.branch('feature-x')).stage !== 'development') await ops.move('feature-x', 'development');
  await page.goto('/projects/demo');
  const board = new BoardPage(page);
  for (const [label, stage] of [['Move to Staging', 'staging'], ['Move to Development', 'development']] as const) {
    await board.card('feature-x').locator('summary').click();
    await board.card('feature-x').getByRole('button', { name: label }).click();
    await expect(page).toHaveURL(/\/projects\/demo/);
    await board.expectIn(stage, 'feature-x');
    expect((await ops.branch('feature-x')).stage).toBe(stage);
  }
});
