// Pictures of every page to look at: `SCREENS=<folder> npx playwright test 90-screens`. Not a test.
import { join } from 'node:path';
import { BoardPage } from '../support/board';
import { expect, test } from '../support/test';

const folder = process.env.SCREENS;
const sizes = [
  { width: 1440, height: 900 },
  { width: 390, height: 844 },
];

if (folder) {
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const viewport of sizes) {
      test(`${colorScheme} at ${viewport.width}`, async ({ another, ops }) => {
        const context = await another({ colorScheme, viewport });
        const page = await context.newPage();
        const shot = (name: string) =>
          page.screenshot({ path: join(folder, `${name}-${viewport.width}-${colorScheme}.png`), animations: 'disabled' });
        await page.goto('/sign-in');
        await shot('sign-in');
        await page.goto('/');
        await expect(page.getByTestId('project').first()).toBeVisible();
        await shot('projects');
        await new BoardPage(page).open();
        await shot('board');
        await page.goto('/projects/demo/builds');
        await expect(page.getByTestId('builds')).toBeVisible();
        await shot('builds');
        for (const name of ['', '/queue', '/hosts', '/schedules']) {
          await page.goto(`/admin${name}`);
          await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
          await page.screenshot({
            path: join(folder, `admin${name.replace('/', '-')}-${viewport.width}-${colorScheme}.png`),
            animations: 'disabled',
            fullPage: true,
          });
        }
        const runs = await ops.runs();
        for (const status of ['succeeded', 'warning', 'failed', 'running']) {
          const run = runs.find((run) => run.status === status);
          if (!run) continue;
          await page.goto(`/projects/demo/builds/${run.id}`);
          await expect(page.locator('li.log-line').first()).toBeVisible();
          await shot(`build-${status}`);
        }
      });
    }
  }
}
