// Every page comes alive, opened by its address and reached from another. CI runs this twice: with the debug build's
// browser part like all tests, and with the optimised one, which is other code and travels compressed.
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Page, Response } from '@playwright/test';
import { BoardPage } from '../support/board';
import { expect, test } from '../support/test';

const SITE = process.env.OPS_SITE_ROOT;

test('pages come alive when they are opened', async ({ page, ops }) => {
  const run = (await ops.branch('main')).runs.at(-1)?.id;
  for (const path of ['/', '/projects/demo', '/projects/demo/builds', `/projects/demo/builds/${run}`]) {
    await page.goto(path);
    await new BoardPage(page).live();
  }
});

test('pages come alive when they are reached from another', async ({ page, ops }) => {
  const run = (await ops.branch('main')).runs.at(-1)?.id;
  const loaded: Response[] = [];
  page.on('response', (response) => {
    if (response.url().endsWith('.wasm')) loaded.push(response);
  });
  await page.goto('/');
  await new BoardPage(page).live();
  // Gone when a click loads the next page from the server instead of drawing it.
  await page.evaluate(() => Object.assign(window, { neverReloaded: true }));
  const first = loaded.length;
  expect(first).toBeGreaterThan(0);

  await page.getByTestId('project').getByRole('link', { name: 'Demo library' }).click();
  await expect(new BoardPage(page).card('main')).toBeVisible();
  expect(loaded.length, 'the board is a part of its own').toBeGreaterThan(first);
  await page.getByRole('navigation').getByRole('link', { name: 'Builds' }).click();
  await expect(page.getByTestId('builds').getByRole('row').first()).toBeVisible();
  await page.locator(`a[href="/projects/demo/builds/${run}"]`).first().click();
  await expect(page.getByTestId('build')).toBeVisible();
  expect(await reloaded(page)).toBe(false);

  for (const part of loaded) {
    const copy = join(SITE ?? '', 'pkg', `${basename(new URL(part.url()).pathname)}.br`);
    const encoding = (await part.allHeaders())['content-encoding'];
    expect(encoding, part.url()).toBe(SITE && existsSync(copy) ? 'br' : undefined);
  }
});

test('a part that is lost on the way is asked for again, the first one too', async ({ page, expectedErrors }) => {
  expectedErrors.push(/net::ERR_FAILED/);
  const asked: string[] = [];
  await page.route(/\/pkg\/.*\.(js|wasm)$/, async (route) => {
    const part = new URL(route.request().url()).pathname;
    const isFirst = !asked.includes(part);
    asked.push(part);
    await (isFirst ? route.abort('failed') : route.continue());
  });
  await page.goto('/projects/demo');
  await new BoardPage(page).live();
  const parts = [...new Set(asked)];
  expect(parts.filter((part) => part.endsWith('.js')).length).toBeGreaterThan(0);
  expect(asked.toSorted()).toEqual([...parts, ...parts].toSorted());
});

test('a program that does not come leaves the page as it is without script', async ({ page, expectedErrors }) => {
  expectedErrors.push(/net::ERR_FAILED/, /dynamically imported module/);
  await page.route(/\/pkg\/.*\.js$/, (route) => route.abort('failed'));
  const givenUp = page.waitForEvent('pageerror');
  await page.goto('/projects/demo');
  await givenUp;
  await expect(new BoardPage(page).card('main')).toBeVisible();
  // Another page was asked once, for browsers that keep what failed.
  const way = await page.evaluate(() => performance.getEntriesByType('navigation').map((entry) => entry.toJSON().type));
  expect(way).toEqual(['reload']);
});

async function reloaded(page: Page): Promise<boolean> {
  return page.evaluate(() => !('neverReloaded' in window));
}
