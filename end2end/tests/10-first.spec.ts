// What a newcomer does first: opens the printed link, finds the demo project, looks at its board.
import { join } from 'node:path';
import { BoardPage } from '../support/board';
import { BUILD, expect, test } from '../support/test';

test('the sign-in link leads to the demo project and its three stages, once', async ({ another, ops }) => {
  const link = await ops.loginLink();
  const context = await another({ storageState: { cookies: [], origins: [] } });
  const page = await context.newPage();
  await page.goto('/projects/demo');
  await expect(page).toHaveURL(/\/sign-in$/);

  await page.goto(link);
  await expect(page.getByRole('heading', { level: 1, name: 'Projects' })).toBeVisible();
  await page.getByTestId('project').getByRole('link', { name: 'Demo library' }).click();
  await expect(page).toHaveURL(/\/projects\/demo$/);
  const board = new BoardPage(page);
  await board.expectIn('production', 'main');
  await board.expectIn('staging', 'staging');
  await board.expectIn('development', 'feature-x');

  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/sign-in$/);
  await page.goto('/');
  await expect(page).toHaveURL(/\/sign-in$/);
});

test('a sign-in link works only once', async ({ another, ops, expectedErrors }) => {
  expectedErrors.push(/status of 403/);
  const link = await ops.loginLink();
  const first = await (await another({ storageState: { cookies: [], origins: [] } })).newPage();
  await first.goto(link);
  await expect(first.getByTestId('project')).toBeVisible();
  const secondContext = await another({ storageState: { cookies: [], origins: [] }, javaScriptEnabled: false });
  const second = await secondContext.newPage();
  await second.goto(link);
  const [answer] = await Promise.all([second.waitForResponse('**/sign-in'), second.getByRole('button').click()]);
  expect(answer.status()).toBe(403);
  await expect(second.getByRole('alert')).not.toBeEmpty();
  await second.goto('/');
  await expect(second).toHaveURL(/\/sign-in$/);
});

test('a link that came in pieces is pasted, without script too', async ({ another, ops }) => {
  const link = await ops.loginLink();
  const context = await another({ storageState: { cookies: [], origins: [] }, javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto('/sign-in');
  await page.getByLabel('Or paste the link').fill(` ${link} `);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByTestId('project').first()).toBeVisible();
});

test('the demo project is green and connectable on all three stages', async ({ page, ops }) => {
  const board = await new BoardPage(page).open();
  for (const branch of await ops.branches()) {
    const oldest = branch.runs.at(-1);
    if (!oldest || !['main', 'staging', 'feature-x'].includes(branch.name)) continue;
    await expect(board.dots(branch.name).first().getByRole('img', { name: 'Succeeded', exact: true })).toBeVisible({ timeout: BUILD });
    await expect(board.card(branch.name).getByTestId('connect')).toBeVisible();
  }
  if (process.env.UPDATE_SCREENSHOT) {
    await page.screenshot({ path: join(__dirname, '../../docs/screenshot.png'), animations: 'disabled' });
  }
});
