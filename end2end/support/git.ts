// A developer's clone, over HTTP with an API token as password.
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Answer, Ops } from './ops';

const ADDONS = join(__dirname, '../fixtures/addons');

export class Clone {
  private constructor(
    private readonly home: string,
    readonly url: string,
  ) {}

  static async of(ops: Ops, project = 'demo'): Promise<Clone> {
    const home = mkdtempSync(join(tmpdir(), 'odooops-clone-'));
    const url = new URL(`/git/${project}.git`, ops.baseUrl);
    const token = await ops.token(`end2end ${project}`);
    const credentials = join(home, 'credentials');
    // Where git keeps passwords for people; never in the address, which every process could read.
    writeFileSync(credentials, `${url.protocol}//git:${token}@${url.host}\n`, { mode: 0o600 });
    const config = [
      '[user]',
      'name = Ada Example',
      'email = ada@example.org',
      '[credential]',
      `helper = store --file=${credentials}`,
      '[init]',
      'defaultBranch = main',
      '[advice]',
      'detachedHead = false',
    ];
    writeFileSync(join(home, 'gitconfig'), config.join('\n'));
    const clone = new Clone(home, url.href);
    mkdirSync(clone.tree);
    await clone.git('clone', '--quiet', url.href, '.');
    return clone;
  }

  get tree(): string {
    return join(this.home, 'tree');
  }

  attempt(...command: string[]): Promise<Answer> {
    const env = {
      PATH: process.env.PATH,
      HOME: this.home,
      GIT_CONFIG_GLOBAL: join(this.home, 'gitconfig'),
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      LC_ALL: 'C.UTF-8',
    };
    return new Promise((resolve, reject) => {
      execFile('git', command, { cwd: this.tree, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
        if (error && typeof error.code !== 'number') reject(error);
        else resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
      });
    });
  }

  async git(...command: string[]): Promise<string> {
    const answer = await this.attempt(...command);
    if (answer.code !== 0) throw new Error(`git ${command.join(' ')} ended with ${answer.code}: ${answer.stderr}`);
    return answer.stdout.trim();
  }

  write(path: string, content: string): void {
    const at = join(this.tree, path);
    mkdirSync(dirname(at), { recursive: true });
    writeFileSync(at, content);
  }

  /// The branch as the server has it.
  async checkout(branch: string): Promise<void> {
    await this.git('fetch', '--quiet', 'origin');
    await this.git('checkout', '--quiet', '-B', branch, `origin/${branch}`);
  }

  /// A branch with a history of its own, so that nothing of the demo project is built with it.
  async empty(branch: string): Promise<void> {
    await this.git('checkout', '--quiet', '--orphan', branch);
    await this.git('rm', '-r', '--quiet', '--force', '--ignore-unmatch', '.');
  }

  addon(name: string): void {
    cpSync(join(ADDONS, name), join(this.tree, name), { recursive: true });
  }

  /// Commits everything and returns the commit's hash.
  async commit(message: string): Promise<string> {
    await this.git('add', '--all');
    await this.git('commit', '--quiet', '--message', message);
    return this.git('rev-parse', 'HEAD');
  }

  /// A commit that changes no file.
  async commitNothing(message: string): Promise<string> {
    await this.git('commit', '--quiet', '--allow-empty', '--message', message);
    return this.git('rev-parse', 'HEAD');
  }

  /// Returns what the server said.
  async push(...refs: string[]): Promise<string> {
    const answer = await this.attempt('push', 'origin', ...refs);
    if (answer.code !== 0) throw new Error(`git push ended with ${answer.code}: ${answer.stderr}`);
    return answer.stderr;
  }

  remove(): void {
    rmSync(this.home, { recursive: true, force: true });
  }
}
