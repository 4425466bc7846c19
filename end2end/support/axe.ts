// What axe finds that keeps somebody out.
import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from '@playwright/test';

export async function findings(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations
    .filter((violation) => violation.impact === 'serious' || violation.impact === 'critical')
    .flatMap((v) => v.nodes.map((node) => `${v.id} (${v.impact}): ${node.html.slice(0, 160)} ${node.failureSummary}`));
}
