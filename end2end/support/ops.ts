// The program `ops` as the tests call it: the same commands that people type.
import { execFile } from 'node:child_process';

export interface Installation {
  bin: string;
  dataDir: string;
  baseUrl: string;
}

export interface Answer {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Branch {
  id: string;
  name: string;
  stage: 'production' | 'staging' | 'development';
  on_push: 'new' | 'update' | 'nothing';
  head: { sha: string; subject: string } | null;
  runs: { id: string; status: string; commit_sha: string }[];
  environment: { id: string; state: string; url: string; run_id: string } | null;
}

export interface Run {
  id: string;
  status: string;
  branch: string | null;
  git_ref: string;
  commit_sha: string;
  error_message: string | null;
}

export interface RunView extends Run {
  last_log_seq: number;
  environment: { id: string; state: string; url: string } | null;
  steps: { step: string; state: string; duration_ms: number | null; note: string | null }[];
}

export interface LogLine {
  seq: number;
  stream: string;
  level: string;
  message: string;
}

/// Statuses that still change.
const ACTIVE = ['queued', 'claimed', 'running'];

export class Ops {
  constructor(readonly installation: Installation) {}

  static fromEnvironment(): Ops {
    const installation = process.env.E2E_INSTALLATION;
    if (!installation) throw new Error('the global set-up did not run');
    return new Ops(JSON.parse(installation) as Installation);
  }

  get baseUrl(): string {
    return this.installation.baseUrl;
  }

  /// Runs a command whatever it ends with.
  attempt(command: string[]): Promise<Answer> {
    const { bin, dataDir } = this.installation;
    const [noun = '', ...rest] = command;
    // Nothing of the tests' own environment may steer the program.
    const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('OPS_')));
    const options = { env, maxBuffer: 512 * 1024 * 1024 };
    return new Promise((resolve, reject) => {
      execFile(bin, [noun, '--data-dir', dataDir, ...rest], options, (error, stdout, stderr) => {
        if (error && typeof error.code !== 'number') reject(error);
        else resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
      });
    });
  }

  async run(...command: string[]): Promise<string> {
    const answer = await this.attempt(command);
    if (answer.code !== 0) throw new Error(`ops ${command.join(' ')} ended with ${answer.code}: ${answer.stderr}`);
    return answer.stdout.trim();
  }

  private async json<T>(...command: string[]): Promise<T> {
    return JSON.parse(await this.run(...command, '--json')) as T;
  }

  async projects(): Promise<{ id: string; slug: string; name: string }[]> {
    return this.json('project', 'list');
  }

  async branches(project = 'demo'): Promise<Branch[]> {
    return this.json('branch', 'list', '--project', project);
  }

  async branch(name: string, project = 'demo'): Promise<Branch> {
    const found = (await this.branches(project)).find((branch) => branch.name === name);
    if (!found) throw new Error(`there is no branch ${name}`);
    return found;
  }

  /// Newest first.
  async runs(project = 'demo'): Promise<Run[]> {
    return this.json('run', 'list', '--project', project, '--limit', '200');
  }

  async activeRuns(project = 'demo'): Promise<Run[]> {
    return (await this.runs(project)).filter((run) => ACTIVE.includes(run.status));
  }

  async runOfCommit(sha: string, project = 'demo'): Promise<Run> {
    const found = (await this.runs(project)).find((run) => run.commit_sha === sha);
    if (!found) throw new Error(`nothing is built for commit ${sha}`);
    return found;
  }

  async showRun(run: string): Promise<RunView> {
    return this.json('run', 'show', run);
  }

  /// Waits until a run has ended: exit code 0 for green and yellow, 1 for red, 2 for canceled, 124 for too late.
  async wait(run: string, timeout = '9m'): Promise<{ code: number; run: RunView }> {
    const answer = await this.attempt(['env', 'wait', run, '--timeout', timeout]);
    if (answer.code > 2) throw new Error(`run ${run} did not end within ${timeout}: ${answer.stderr}`);
    return { code: answer.code, run: await this.showRun(run) };
  }

  async logs(run: string): Promise<LogLine[]> {
    const text = await this.run('run', 'logs', run, '--json');
    return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as LogLine);
  }

  async environments(project = 'demo'): Promise<{ id: string; state: string }[]> {
    return this.json('env', 'list', '--project', project);
  }

  async move(branch: string, stage: string, project = 'demo'): Promise<void> {
    await this.run('branch', 'move', branch, '--project', project, '--stage', stage);
  }

  async loginLink(): Promise<string> {
    return (await this.json<{ url: string }>('login-link')).url;
  }

  async token(name: string): Promise<string> {
    return (await this.json<{ token: string }>('token', 'create', '--name', name)).token;
  }
}
