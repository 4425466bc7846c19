// The test that all specs use: signed in, with a clone when asked for, and with an eye on the browser's console. An
// error there (a panic, a hydration mismatch, a breach of the Content-Security-Policy) fails the test that saw it.
import { type Browser, type BrowserContext, type BrowserContextOptions, test as base, expect } from '@playwright/test';
import { Clone } from './git';
import { steady } from './steady';
import { Ops } from './ops';

export { expect };

type State = Awaited<ReturnType<BrowserContext['storageState']>>;

/// Seconds that the acceptance list allows, ten times over: machines that run tests are busy.
export const WITHIN_A_SECOND = 10_000;
/// A build waits for others.
export const BUILD = 9 * 60_000;

interface Fixtures {
  clone: Clone;
  /// Another browser with the same user, or one set up otherwise (touch, no script).
  another: (options?: BrowserContextOptions) => Promise<BrowserContext>;
  /// Errors in the browser's console that a test causes on purpose.
  expectedErrors: RegExp[];
  watched: void;
}

interface WorkerFixtures {
  ops: Ops;
  signedIn: State;
}

async function signIn(browser: Browser, ops: Ops): Promise<State> {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(await ops.loginLink());
  await page.waitForURL(new URL('/', ops.baseUrl).href);
  const state = await context.storageState();
  await context.close();
  return state;
}

function watch(context: BrowserContext, origin: string, seen: string[]): void {
  const ours = (url: string) => url === '' || url === 'about:blank' || url.startsWith(`${origin}/`) || url === origin;
  context.on('page', steady);
  context.on('console', (message) => {
    if (message.text().includes('ERR_NETWORK_CHANGED')) return;
    const page = message.page()?.url() ?? '';
    const bad = message.type() === 'error' || /Content.Security.Policy|hydrat/i.test(message.text());
    if (bad && ours(page)) seen.push(`console at ${page}: ${message.text()}`);
  });
  context.on('weberror', (error) => {
    const page = error.page()?.url() ?? '';
    if (ours(page)) seen.push(`uncaught at ${page}: ${error.error().stack || error.error().message}`);
  });
}

export const test = base.extend<Fixtures, WorkerFixtures>({
  ops: [async ({}, use) => use(Ops.fromEnvironment()), { scope: 'worker' }],
  signedIn: [async ({ browser, ops }, use) => use(await signIn(browser, ops)), { scope: 'worker' }],
  baseURL: async ({ ops }, use) => use(ops.baseUrl),
  storageState: async ({ signedIn }, use) => use(signedIn),
  expectedErrors: async ({}, use) => use([]),
  watched: [
    async ({ context, ops, expectedErrors }, use) => {
      const seen: string[] = [];
      watch(context, ops.baseUrl, seen);
      await use();
      expect(seen.filter((text) => !expectedErrors.some((known) => known.test(text)))).toEqual([]);
    },
    { auto: true },
  ],
  another: async ({ browser, ops, signedIn, expectedErrors }, use) => {
    const seen: string[] = [];
    const made: BrowserContext[] = [];
    await use(async (options = {}) => {
      const context = await browser.newContext({ baseURL: ops.baseUrl, storageState: signedIn, ...options });
      watch(context, ops.baseUrl, seen);
      made.push(context);
      return context;
    });
    for (const context of made) await context.close();
    expect(seen.filter((text) => !expectedErrors.some((known) => known.test(text)))).toEqual([]);
  },
  clone: async ({ ops }, use) => {
    const clone = await Clone.of(ops);
    await use(clone);
    clone.remove();
  },
});
