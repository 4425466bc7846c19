// No serious or critical finding of axe on any page, in light and in dark.
import { findings } from '../support/axe';
import { BoardPage } from '../support/board';
import { expect, test } from '../support/test';

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });

    test('sign-in', async ({ another }) => {
      const context = await another({ colorScheme, storageState: { cookies: [], origins: [] } });
      const page = await context.newPage();
      await page.goto('/sign-in');
      await expect(page.getByTestId('sign-in')).toBeVisible();
      expect(await findings(page)).toEqual([]);
    });

    test('projects', async ({ page }) => {
      await page.goto('/');
      await expect(page.getByTestId('project').first()).toBeVisible();
      expect(await findings(page)).toEqual([]);
      await page.getByTestId('new-project').first().click();
      await expect(page.getByRole('dialog')).toBeVisible();
      expect(await findings(page)).toEqual([]);
    });

    test('board, with a menu open', async ({ page }) => {
      const board = await new BoardPage(page).open();
      expect(await findings(page)).toEqual([]);
      await board.card('feature-x').locator('summary').click();
      expect(await findings(page)).toEqual([]);
    });

    test('builds', async ({ page }) => {
      await page.goto('/projects/demo/builds');
      await expect(page.getByTestId('builds')).toBeVisible();
      expect(await findings(page)).toEqual([]);
    });

    test('build', async ({ page, ops }) => {
      const run = (await ops.branch('main')).runs.at(-1)?.id ?? '';
      await ops.wait(run);
      await page.goto(`/projects/demo/builds/${run}`);
      await expect(page.locator('li.log-line').first()).toBeVisible();
      expect(await findings(page)).toEqual([]);
    });

    test('what is not there', async ({ page, expectedErrors }) => {
      expectedErrors.push(/404/);
      const answer = await page.goto('/projects/no-such-project');
      expect(answer?.status()).toBe(404);
      expect(await findings(page)).toEqual([]);
    });
  });
}
