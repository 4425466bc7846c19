// The browser tests drive the system's Chromium against an `ops up` of their own. `cargo xtask test` builds the
// program and says where it is:
//
//   OPS_BIN         the program `ops`
//   OPS_SITE_ROOT   the browser's files that belong to it
//   CHROMIUM        the browser
//   E2E_REUSE       see support/installation.ts, which starts `ops up` with a data directory and a port of its own
//
// Tests share one installation and its one Docker, so they run one after the other. A test is never tried twice: what
// fails sometimes is broken.
import { defineConfig, devices } from '@playwright/test';

export default defineConfig({
  testDir: './tests',
  outputDir: './test-results',
  globalSetup: './support/installation.ts',
  fullyParallel: false,
  workers: 1,
  retries: 0,
  forbidOnly: true,
  // A build of a real Odoo takes its time; what must be quick is bounded in the test itself.
  timeout: 10 * 60_000,
  expect: { timeout: 15_000 },
  reporter: [['line'], ['json']],
  use: {
    screenshot: 'only-on-failure',
    trace: 'retain-on-failure',
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
  },
  projects: [
    {
      name: 'desktop',
      use: { ...devices['Desktop Chrome'], viewport: { width: 1440, height: 900 } },
      testIgnore: '**/*.phone.spec.ts',
    },
    {
      name: 'phone',
      use: { ...devices['Pixel 7'], viewport: { width: 390, height: 844 } },
      testMatch: '**/*.phone.spec.ts',
    },
  ],
});
