// What is not there and what is refused: with the right status, and said where one looks.
import { BoardPage } from '../support/board';
import { expect, test } from '../support/test';

const NO_RUN = '01900000-0000-7000-8000-000000000000';

test('what is not there answers so, whichever page is asked for it', async ({ page, ops, expectedErrors }) => {
  expectedErrors.push(/404/);
  const run = (await ops.branch('main')).runs.at(-1)?.id ?? '';
  for (const path of [
    '/no-such-page',
    '/projects/no-such-project',
    '/projects/no-such-project/builds',
    '/projects/UPPER',
    '/projects/UPPER/builds',
    '/projects/demo/builds/not-a-uuid',
    `/projects/demo/builds/${NO_RUN}`,
    // There is such a build, and it is another project's.
    `/projects/no-such-project/builds/${run}`,
  ]) {
    const answer = await page.request.get(path);
    expect(answer.status(), path).toBe(404);
  }
  expect((await page.request.get(`/projects/demo/builds/${run}`)).status()).toBe(200);
  await page.goto(`/projects/demo/builds/${NO_RUN}`);
  await expect(page).toHaveTitle('Build');
  await expect(page.getByRole('alert')).toContainText('There is no such build');
});

test.describe('without script', () => {
  test.use({ javaScriptEnabled: false });

  test('a refused form comes back with its reason, and the way on has no trace of it', async ({ page, clone, ops }) => {
    await clone.checkout('main');
    await clone.git('checkout', '--quiet', '-b', 'to-vanish');
    const sha = await clone.commitNothing('Soon gone');
    await clone.push('to-vanish');
    await ops.attempt(['run', 'cancel', (await ops.runOfCommit(sha)).id]);
    await page.goto('/projects/demo');
    const board = new BoardPage(page);
    await board.expectIn('development', 'to-vanish');
    // Gone before the form is sent.
    await clone.push('--delete', 'to-vanish');
    await board.card('to-vanish').locator('summary').click();
    await board.card('to-vanish').getByRole('button', { name: 'Rebuild' }).click();
    await expect(page.getByTestId('refusal')).toContainText('There is no such branch');
    await expect(board.card('main')).toBeVisible();
    await page.getByTestId('refusal').getByRole('link', { name: 'Dismiss' }).click();
    await expect(page).toHaveURL(/\/projects\/demo$/);
    await expect(page.getByTestId('refusal')).toHaveCount(0);
  });

  test('a branch is told by its form not to build pushes, and to build them again', async ({ page, ops }) => {
    await page.goto('/projects/demo');
    const card = new BoardPage(page).card('staging');
    for (const [entry, quiet, onPush] of [
      ['Do not build on push', 1, 'nothing'],
      ['Build on push', 0, 'update'],
    ] as const) {
      await card.locator('summary').click();
      await card.getByRole('button', { name: entry, exact: true }).click();
      await expect(card.getByTestId('quiet')).toHaveCount(quiet);
      expect((await ops.branch('staging')).on_push).toBe(onPush);
    }
  });

  test('an ended build is built again by its form', async ({ page, ops }) => {
    const before = (await ops.branch('feature-x')).runs.find((run) => run.status === 'succeeded')?.id ?? '';
    await page.goto(`/projects/demo/builds/${before}`);
    await page.getByTestId('build').getByRole('button', { name: 'Rebuild' }).click();
    await expect(page).not.toHaveURL(new RegExp(before));
    const made = page.url().split('/').at(-1) ?? '';
    expect((await ops.showRun(made)).branch).toBe('feature-x');
    await page.getByTestId('build').getByRole('button', { name: 'Cancel build' }).click();
    expect((await ops.wait(made)).run.status).toBe('canceled');
  });
});
