// The console at 390 px: nothing leaves the screen, the navigation is a drawer, and a finger moves branches.
import type { Page } from '@playwright/test';
import { findings } from '../support/axe';
import { BoardPage, middle } from '../support/board';
import { Finger } from '../support/finger';
import type { Ops } from '../support/ops';
import { WITHIN_A_SECOND, expect, test } from '../support/test';

/// As many as a card shows at most.
const BUILDS = 8;

test('nothing is wider than the screen, and axe finds nothing', async ({ page, ops }) => {
  await manyBuilds(page, ops);
  const board = new BoardPage(page);
  await page.goto('/');
  await expect(page.getByTestId('project').first()).toBeVisible();
  await expectFits(page);
  expect(await findings(page)).toEqual([]);

  await board.open();
  const card = board.card('feature-x');
  await expect(card.getByTestId('connect')).toBeVisible();
  await expect(board.dots('feature-x')).toHaveCount(BUILDS);
  // The newest is shown, however few there is room for.
  await expect(board.dots('feature-x').last()).toBeVisible();
  await expectFits(page);
  // Nothing of a card stands out of it, where another card could cover it.
  const sticking = await page.getByTestId('card').evaluateAll((cards) =>
    cards.flatMap((card) => {
      const right = card.getBoundingClientRect().right;
      const parts = [...card.querySelectorAll('.card-foot a, .card-head button, .card-head summary, .chip')];
      return parts.filter((part) => part.getBoundingClientRect().right > right).map((part) => part.outerHTML);
    }),
  );
  expect(sticking).toEqual([]);
  expect(await findings(page)).toEqual([]);
  await card.locator('summary').click();
  await expect(card.locator('.menu-items')).toBeVisible();
  await expectFits(page);
  expect(await findings(page)).toEqual([]);

  await page.goto('/projects/demo/builds');
  await expect(page.getByTestId('builds')).toBeVisible();
  await expectFits(page);
  expect(await findings(page)).toEqual([]);

  const main = (await ops.branch('main')).runs.at(-1)?.id ?? '';
  await page.goto(`/projects/demo/builds/${main}`);
  await expect(page.locator('li.log-line').first()).toBeVisible();
  await expectFits(page);
  expect(await findings(page)).toEqual([]);
});

test('the drawer takes the focus and gives it back', async ({ page }) => {
  await new BoardPage(page).open();
  const open = page.getByRole('button', { name: 'Open navigation' });
  const close = page.getByRole('button', { name: 'Close navigation' });
  const rail = page.locator('#rail');
  await expect(rail).not.toBeVisible();

  await open.click();
  await expect(rail).toBeVisible();
  await expect(close).toBeFocused();
  // Behind it nothing answers.
  await expect(page.locator('.frame-main')).toHaveAttribute('inert', '');
  expect(await findings(page)).toEqual([]);
  await page.keyboard.press('Escape');
  await expect(rail).not.toBeVisible();
  await expect(open).toBeFocused();

  await open.click();
  await close.click();
  await expect(rail).not.toBeVisible();
  await expect(open).toBeFocused();

  await open.click();
  await rail.getByRole('link', { name: 'Builds' }).click();
  await expect(page.getByTestId('builds')).toBeVisible();
  await expect(rail).not.toBeVisible();
  await expect(page.locator('#content')).toBeFocused();
});

test('a finger takes a branch to a stage that is out of sight', async ({ page, ops }) => {
  if ((await ops.branch('feature-x')).stage !== 'development') await ops.move('feature-x', 'development');
  const board = await new BoardPage(page).open();
  await board.expectIn('development', 'feature-x');
  const grip = board.card('feature-x').getByRole('button', { name: 'Move feature-x' });
  await grip.evaluate((grip) => window.scrollBy(0, grip.getBoundingClientRect().top - 140));
  const from = await middle(grip);
  const finger = await Finger.on(page);
  await finger.down(from);
  await expect(page.locator('.ghost-card')).toBeVisible();

  // At the upper edge the page scrolls along, until the stage is there.
  const edge = { x: from.x, y: 56 };
  await finger.move(from, edge);
  await page.waitForFunction(() => {
    const staging = document.querySelector('[data-testid="column-staging"]');
    return staging !== null && staging.getBoundingClientRect().top > 120;
  });
  const rest = { x: from.x, y: 500 };
  await finger.move(edge, rest);
  const to = await board.headOf('staging');
  await finger.move(rest, to);
  await expect(board.column('staging')).toHaveClass(/\bover\b/);
  await finger.up();
  await board.expectIn('staging', 'feature-x');
  await expect.poll(async () => (await ops.branch('feature-x')).stage, { timeout: WITHIN_A_SECOND }).toBe('staging');
  await ops.move('feature-x', 'development');
});

async function expectFits(page: Page): Promise<void> {
  const [content, screen] = await page.evaluate(() => {
    const root = document.documentElement;
    return [root.scrollWidth, root.clientWidth];
  });
  expect(screen).toBe(390);
  expect(content).toBeLessThanOrEqual(screen ?? 0);
}

/// Builds that need no building: each takes the one before it out of its way, and the last is canceled.
async function manyBuilds(page: Page, ops: Ops): Promise<void> {
  const { id } = await ops.branch('feature-x');
  for (let build = 0; build < BUILDS; build += 1) {
    const form = { project: 'demo', branch: id };
    const headers = { origin: ops.baseUrl };
    const answer = await page.request.post('/api/console/branch/rebuild', { form, headers });
    expect(answer.status()).toBe(200);
  }
  for (const run of await ops.activeRuns()) {
    if (run.branch !== 'feature-x') continue;
    await ops.attempt(['run', 'cancel', run.id]);
    await ops.wait(run.id);
  }
}
