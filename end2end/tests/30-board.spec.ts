// Moving branches between stages by mouse, keyboard and touch; what is refused; what is merged.
import { BoardPage, middle } from '../support/board';
import { Finger } from '../support/finger';
import { WITHIN_A_SECOND, expect, test } from '../support/test';

test.beforeEach(async ({ ops }) => {
  // Each test begins with the demo project's own order.
  const stages = Object.fromEntries((await ops.branches()).map((branch) => [branch.name, branch.stage]));
  if (stages['feature-x'] !== 'development') await ops.move('feature-x', 'development');
  if (stages['main'] !== 'production') await ops.move('main', 'production');
});

test('by mouse to staging, seen by a second browser, and still there after a reload', async ({ page, another, ops }) => {
  const mine = await new BoardPage(page).open();
  const theirs = await new BoardPage(await (await another()).newPage()).open();
  await mine.drag('feature-x', await mine.headOf('staging'));
  await mine.expectIn('staging', 'feature-x');
  await theirs.expectIn('staging', 'feature-x');
  await expect(page.getByTestId('toast')).toContainText('feature-x is in Staging now.');
  await page.reload();
  await mine.live();
  await mine.expectIn('staging', 'feature-x');
  await expect(mine.card('feature-x')).toContainText('Fresh database');
  expect((await ops.branch('feature-x')).stage).toBe('staging');
});

test('by keyboard to staging and back to development', async ({ page, ops }) => {
  const board = await new BoardPage(page).open();
  const grip = board.card('feature-x').getByRole('button', { name: 'Move feature-x' });
  const said = page.locator('[aria-live="assertive"]');
  await grip.focus();
  await page.keyboard.press('Space');
  await expect(said).toContainText('picked up');
  await page.keyboard.press('ArrowLeft');
  await expect(said).toContainText('Staging');
  await page.keyboard.press('Enter');
  await board.expectIn('staging', 'feature-x');
  // The focus moves along with the card.
  await expect(grip).toBeFocused();
  await expect.poll(async () => (await ops.branch('feature-x')).stage, { timeout: WITHIN_A_SECOND }).toBe('staging');

  await page.keyboard.press('Space');
  await page.keyboard.press('ArrowRight');
  await expect(said).toContainText('Development');
  await page.keyboard.press('Enter');
  await board.expectIn('development', 'feature-x');
  await expect.poll(async () => (await ops.branch('feature-x')).stage, { timeout: WITHIN_A_SECOND }).toBe('development');
});

test('a branch that came from staging says that pushes do not build it, and is told to build them', async ({ page, ops }) => {
  await ops.move('feature-x', 'staging');
  await ops.move('feature-x', 'development');
  const board = await new BoardPage(page).open();
  const card = board.card('feature-x');
  await expect(card.getByTestId('quiet')).toHaveText('Pushes do not build');
  await card.locator('summary').click();
  await card.getByRole('button', { name: 'Build on push', exact: true }).click();
  await expect(page.getByTestId('toast')).toContainText('Pushes to feature-x are built.');
  await expect(card.getByTestId('quiet')).toHaveCount(0);
  // The menu gives the focus back to its button.
  await expect(card.locator('summary')).toBeFocused();
  expect((await ops.branch('feature-x')).on_push).toBe('new');
});

test('rebuilding production is asked for twice', async ({ page, ops }) => {
  const board = await new BoardPage(page).open();
  const builds = (await ops.branch('main')).runs.length;
  await board.card('main').locator('summary').click();
  await board.card('main').getByRole('link', { name: 'Rebuild…' }).click();
  const question = page.getByTestId('ask-production');
  await expect(question).toContainText('a fresh database');
  await question.getByRole('link', { name: 'Cancel' }).click();
  await expect(question).toHaveCount(0);
  // Whatever the clicks sent has arrived when the page is there again.
  await page.reload({ waitUntil: 'networkidle' });
  expect((await ops.branch('main')).runs.length).toBe(builds);
});

test('Escape puts back what the keyboard picked up', async ({ page, ops }) => {
  const board = await new BoardPage(page).open();
  await board.card('feature-x').getByRole('button', { name: 'Move feature-x' }).focus();
  for (const key of ['Space', 'ArrowLeft', 'Escape']) await page.keyboard.press(key);
  await expect(page.locator('[aria-live="assertive"]')).toContainText('feature-x stays where it is.');
  await board.expectIn('development', 'feature-x');
  expect((await ops.branch('feature-x')).stage).toBe('development');
});

for (const [name, hold] of [
  ['at the grip', false],
  ['after holding the card', true],
] as const) {
  test(`by touch to staging, ${name}`, async ({ another, ops }) => {
    const context = await another({ hasTouch: true, isMobile: true, viewport: { width: 1180, height: 820 } });
    const page = await context.newPage();
    const board = await new BoardPage(page).open();
    const finger = await Finger.on(page);
    const from = hold
      ? await board.holdOf('feature-x')
      : await middle(board.card('feature-x').getByRole('button', { name: 'Move feature-x' }));
    await finger.down(from);
    await expect(page.locator('.ghost-card')).toBeVisible();
    await finger.move(from, await board.headOf('staging'));
    await expect(board.column('staging')).toHaveClass(/\bover\b/);
    await finger.up();
    await board.expectIn('staging', 'feature-x');
    await expect.poll(async () => (await ops.branch('feature-x')).stage, { timeout: WITHIN_A_SECOND }).toBe('staging');
  });
}

test('a second production branch is refused with the reason', async ({ page, ops }) => {
  const board = await new BoardPage(page).open();
  const from = await board.holdOf('feature-x');
  const to = await board.headOf('production');
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move(to.x, to.y, { steps: 8 });
  // Already while dragging, the column says that it would refuse; the reason follows the drop.
  await expect(board.column('production')).toHaveClass(/\brefused\b/);
  await expect(board.column('production').locator('.column-line')).toHaveText('Not possible');
  await page.mouse.up();
  await expect(page.getByTestId('toast')).toContainText('feature-x was not moved.');
  await expect(page.getByTestId('toast')).toContainText('main is the production branch already');
  await board.expectIn('development', 'feature-x');
  expect((await ops.branch('feature-x')).stage).toBe('development');
});

test('a move that the server refuses is taken back with the reason', async ({ page, ops, expectedErrors }) => {
  expectedErrors.push(/status of 409/);
  // This page hears of no changes, so that its board is out of date when it asks.
  let deaf = false;
  await page.routeWebSocket('**/live', (socket) => {
    const server = socket.connectToServer();
    server.onMessage((message) => {
      if (!deaf) socket.send(message);
    });
  });
  await ops.move('main', 'development');
  const board = await new BoardPage(page).open();
  await board.expectIn('development', 'main');
  deaf = true;
  await ops.move('main', 'production');
  await board.drag('feature-x', await board.headOf('production'));
  await page.getByTestId('ask').getByRole('button', { name: 'Make it production' }).click();
  await expect(page.getByTestId('toast')).toContainText('main is the production branch already');
  await board.expectIn('development', 'feature-x');
  await board.expectIn('production', 'main');
  expect((await ops.branch('feature-x')).stage).toBe('development');
});

test('a drop that means a merge asks, shows what it brings, and merges', async ({ page, clone, ops }) => {
  await clone.checkout('main');
  await clone.git('checkout', '--quiet', '-b', 'to-merge');
  clone.write('library/NOTES.md', 'Merged by a test.\n');
  const sha = await clone.commit('Notes to merge');
  await clone.push('to-merge');
  const board = await new BoardPage(page).open();
  await board.expectIn('development', 'to-merge');

  await board.drag('to-merge', await board.holdOf('staging'));
  const ask = page.getByRole('dialog', { name: 'Merge to-merge into staging?' });
  await expect(ask).toContainText('Notes to merge');
  await expect(ask).toContainText('library');
  // Nothing happens before the yes.
  await clone.git('fetch', '--quiet', 'origin');
  expect((await clone.attempt('merge-base', '--is-ancestor', sha, 'origin/staging')).code).toBe(1);
  await ask.getByRole('button', { name: 'Merge into staging' }).click();
  await expect(page.getByTestId('toast')).toContainText('to-merge is merged into staging.');
  await clone.git('fetch', '--quiet', 'origin');
  await clone.git('merge-base', '--is-ancestor', sha, 'origin/staging');
  const head = await clone.git('rev-parse', 'origin/staging');
  expect((await ops.branch('staging')).head?.sha).toBe(head);
  await expect(board.dots('staging').last()).toHaveAttribute('href', new RegExp((await ops.runOfCommit(head)).id));
});

test('a merge that contradicts says where, and changes nothing', async ({ page, clone, ops, expectedErrors }) => {
  expectedErrors.push(/status of 409/);
  await clone.checkout('main');
  await clone.git('checkout', '--quiet', '-b', 'one-way');
  clone.write('README.md', 'One way.\n');
  await clone.commit('One way');
  await clone.git('checkout', '--quiet', '-B', 'other-way', 'origin/main');
  clone.write('README.md', 'The other way.\n');
  await clone.commit('The other way');
  await clone.push('one-way', 'other-way');
  const before = (await ops.branch('other-way')).head?.sha;
  const board = await new BoardPage(page).open();
  await board.drag('one-way', await board.holdOf('other-way'));
  const ask = page.getByRole('dialog', { name: 'Merge one-way into other-way?' });
  await expect(ask).toContainText('README.md');
  await ask.getByRole('button', { name: 'Merge into other-way' }).click();
  await expect(page.getByTestId('toast')).toContainText('README.md');
  expect((await ops.branch('other-way')).head?.sha).toBe(before);
});
