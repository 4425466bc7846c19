// Each build makes and removes a network of Docker's. Chromium sees the machine's addresses change and gives up what it
// is loading at that moment (ERR_NETWORK_CHANGED), from loopback too; it has no setting against it. That is the
// machine's doing and not the console's, so a page that lost a file that way is opened once more.
import type { Page, Request } from '@playwright/test';

const TRIES = 4;

export function steady(page: Page): void {
  const goto = page.goto.bind(page);
  page.goto = async (url, options) => {
    for (let left = TRIES; ; left -= 1) {
      let changed = false;
      const failed = (request: Request) => {
        changed ||= request.failure()?.errorText === 'net::ERR_NETWORK_CHANGED';
      };
      page.on('requestfailed', failed);
      try {
        // Until the last file is there: the console's own code comes after the page's `load`.
        const answer = await goto(url, { waitUntil: 'networkidle', ...options });
        if (!changed || left === 1) return answer;
      } catch (error) {
        if (!String(error).includes('ERR_NETWORK_CHANGED') || left === 1) throw error;
      } finally {
        page.off('requestfailed', failed);
      }
    }
  };
}
