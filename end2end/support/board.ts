// The branches board as a person sees it.
import { type Locator, type Page, expect } from '@playwright/test';
import { WITHIN_A_SECOND } from './test';

export type Stage = 'production' | 'staging' | 'development';

export class BoardPage {
  constructor(readonly page: Page) {}

  /// Opens the board and waits until it is live: from then on it answers to the pointer and hears of changes.
  async open(project = 'demo'): Promise<this> {
    await this.page.goto(`/projects/${project}`);
    await this.live();
    return this;
  }

  async live(): Promise<void> {
    await expect(this.page.getByTestId('live').locator('.live-light.online')).toBeVisible();
  }

  column(stage: Stage): Locator {
    return this.page.getByTestId(`column-${stage}`);
  }

  card(branch: string): Locator {
    return this.page.locator(`[data-testid="card"][data-branch="${branch}"]`);
  }

  /// The builds of a card, oldest first.
  dots(branch: string): Locator {
    return this.card(branch).getByTestId('history').locator('a');
  }

  async expectIn(stage: Stage, branch: string): Promise<void> {
    const card = this.column(stage).locator(`[data-testid="card"][data-branch="${branch}"]`);
    await expect(card).toBeVisible({ timeout: WITHIN_A_SECOND });
    await expect(this.card(branch)).toHaveCount(1);
  }

  /// Where a pointer takes hold of a card: its name is text, neither link nor button.
  async holdOf(branch: string): Promise<{ x: number; y: number }> {
    return middle(this.card(branch).locator('.card-name'));
  }

  /// The head of a column: below it a drop could mean a merge with the card there.
  async headOf(stage: Stage): Promise<{ x: number; y: number }> {
    return middle(this.column(stage).locator('.column-head'));
  }

  async drag(branch: string, to: { x: number; y: number }): Promise<void> {
    const from = await this.holdOf(branch);
    await this.page.mouse.move(from.x, from.y);
    await this.page.mouse.down();
    await this.page.mouse.move(from.x + 12, from.y + 4);
    await this.page.mouse.move(to.x, to.y, { steps: 8 });
    await expect(this.page.locator('.ghost-card')).toBeVisible();
    await this.page.mouse.up();
  }
}

export async function middle(locator: Locator): Promise<{ x: number; y: number }> {
  await locator.scrollIntoViewIfNeeded();
  const box = await locator.boundingBox();
  if (!box) throw new Error('the element is not shown');
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}
