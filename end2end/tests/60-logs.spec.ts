// A hundred thousand lines, complete and in order: in Postgres, and in a browser that loses its connection three
// times while they come.
import type { Locator, WebSocketRoute } from '@playwright/test';
import { BUILD, expect, test } from '../support/test';

const LINES = 100_000;
/// The connection breaks when the page has seen so many lines.
const CUTS = [5_000, 35_000, 70_000];

test('100,000 lines arrive in order though the connection breaks three times', async ({ page, clone, ops, expectedErrors }) => {
  test.setTimeout(2 * BUILD);
  expectedErrors.push(/WebSocket connection to .* failed/);
  const cuts = [...CUTS];
  const received: number[] = [];
  let connections = 0;
  await page.routeWebSocket('**/live', (socket) => {
    connections += 1;
    const server: WebSocketRoute = socket.connectToServer();
    let cut = false;
    server.onMessage((message) => {
      if (cut) return;
      const told = JSON.parse(message.toString()) as { news?: { last_seq?: number; content: { seq: number }[] } };
      const next = cuts[0];
      const last = told.news?.last_seq;
      if (next !== undefined && last !== undefined && last >= next) {
        // This batch is lost on the way: the page must ask for it again.
        cuts.shift();
        cut = true;
        void server.close();
        void socket.close({ code: 1012, reason: 'cut by the test' });
        return;
      }
      if (last !== undefined) received.push(...(told.news?.content ?? []).map((line) => line.seq));
      socket.send(message);
    });
  });

  await clone.empty('hundred-thousand-lines');
  clone.addon('hundred_thousand_lines');
  const sha = await clone.commit('A hundred thousand lines');
  await clone.push('hundred-thousand-lines');
  const run = (await ops.runOfCommit(sha)).id;
  await page.goto(`/projects/demo/builds/${run}`);
  const total = page.getByTestId('log-count');
  await expect(total).toBeVisible();

  const { run: ended } = await ops.wait(run);
  expect(ended.status).toBe('succeeded');
  const lines = await ops.logs(run);
  expect(lines.map((line) => line.seq)).toEqual(lines.map((_, index) => index + 1));
  const numbered = lines.map((line) => /line (\d{6}) of one hundred thousand/.exec(line.message)?.[1]).filter(Boolean);
  expect(numbered.map(Number)).toEqual(Array.from({ length: LINES }, (_, index) => index + 1));

  await expect.poll(() => count(total), { timeout: 60_000 }).toBe(lines.length);
  expect(cuts).toEqual([]);
  expect(connections).toBe(CUTS.length + 1);
  // Nothing was asked for twice, and nothing left out: with what came with the page it is every line.
  const begun = (received[0] ?? 1) - 1;
  expect(received).toEqual(Array.from({ length: lines.length - begun }, (_, index) => begun + index + 1));

  // What is drawn is what was logged, wherever one looks.
  const frame = page.locator('.log-frame');
  for (const part of [0, 0.3, 0.35, 0.7, 1]) {
    await frame.evaluate((element, part) => {
      element.scrollTop = (element.scrollHeight - element.clientHeight) * part;
    }, part);
    const near = Math.max(1, Math.round(lines.length * part));
    await expect.poll(async () => (await drawn(page.locator('li.log-line'))).some((l) => Math.abs(l.seq - near) < 60)).toBe(true);
    const seen = await drawn(page.locator('li.log-line'));
    expect(seen.length).toBeGreaterThan(5);
    expect(seen.map((line) => line.seq)).toEqual(seen.map((_, index) => (seen[0]?.seq ?? 0) + index));
    for (const line of seen) {
      const message = lines[line.seq - 1]?.message ?? '';
      if (message.startsWith('line ')) expect(line.text).toBe(message);
    }
  }
});

async function count(of: Locator): Promise<number> {
  return Number((await of.innerText()).replace(/\D/g, ''));
}

function drawn(lines: Locator): Promise<{ seq: number; text: string }[]> {
  return lines.evaluateAll((all) =>
    all.map((line) => ({
      seq: Number(line.getAttribute('data-seq')),
      text: line.querySelector('.log-text')?.textContent ?? '',
    })),
  );
}
