// One real installation for all tests: `ops up` with a data directory, a port and a base domain of its own, on the
// machine's Docker. Set up once, taken down with SIGTERM; then nothing may be left that no environment owns.
//
// E2E_REUSE=<data dir>,<base url> uses an installation that runs already, while one writes tests.
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { containers, networks, removeContainers, removeNetworks, using } from './docker';
import { freePort } from './free-port';
import { type Installation, Ops } from './ops';

const START = 3 * 60_000;
const STOP = 60_000;

export default async function setUp(): Promise<(() => Promise<void>) | undefined> {
  const bin = process.env.OPS_BIN;
  if (!bin || !existsSync(bin)) throw new Error('OPS_BIN must be the program `ops`; `cargo xtask test` sets it');
  const reuse = process.env.E2E_REUSE?.split(',');
  if (reuse) {
    hand({ bin, dataDir: reuse[0] ?? '', baseUrl: reuse[1] ?? '' });
    return undefined;
  }
  const site = process.env.OPS_SITE_ROOT;
  if (!site || !existsSync(site)) throw new Error("OPS_SITE_ROOT must be the folder with the console's browser side");

  const dataDir = mkdtempSync(join(tmpdir(), 'odooops-e2e-'));
  // User postgres goes through it to the clusters.
  chmodSync(dataDir, 0o711);
  const port = await freePort();
  const installation: Installation = { bin: resolve(bin), dataDir, baseUrl: `http://localhost:${port}` };
  const child = start(installation, port, await freePort(), resolve(site));
  try {
    await ready(child.process, child.log);
    hand(installation);
  } catch (error) {
    await stop(child.process);
    rmSync(dataDir, { recursive: true, force: true });
    throw error;
  }
  return () => takeDown(new Ops(installation), child.process);
}

/// Tests run in processes of their own, which inherit the environment.
function hand(installation: Installation): void {
  process.env.E2E_INSTALLATION = JSON.stringify(installation);
}

function start(installation: Installation, port: number, nodes: number, site: string): { process: ChildProcess; log: string } {
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('OPS_')));
  const flags = ['--data-dir', installation.dataDir, '--listen', `127.0.0.1:${port}`];
  flags.push('--base-domain', `localhost:${port}`, '--site-root', site);
  // Other machines may join: what they are told is looked at.
  flags.push('--node-listen', `127.0.0.1:${nodes}`);
  // A group of its own: Ctrl-C in the terminal reaches the tests, which then stop it in order.
  const child = spawn(installation.bin, ['up', ...flags], { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const log = join(installation.dataDir, 'up.log');
  const file = createWriteStream(log, { mode: 0o600 });
  child.stdout?.pipe(file, { end: false });
  child.stderr?.pipe(file, { end: false });
  return { process: child, log };
}

/// It says where the console is when everything answers and the demo project is there.
function ready(child: ChildProcess, log: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const tail = () => readFileSync(log, 'utf8').split('\n').slice(-30).join('\n');
    const timer = setTimeout(() => reject(new Error(`\`ops up\` was not ready in time:\n${tail()}`)), START);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`\`ops up\` ended with ${code}:\n${tail()}`)));
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on('line', (line) => {
        if (!line.includes('the console is at')) return;
        clearTimeout(timer);
        resolve();
      });
    }
  });
}

async function takeDown(ops: Ops, child: ChildProcess): Promise<void> {
  const problems: string[] = [];
  const owned = new Set<string>();
  const installations = new Set<string>();
  try {
    if (child.exitCode !== null) throw new Error(`\`ops up\` ended by itself with ${child.exitCode}`);
    for (const project of await ops.projects()) {
      const active = await ops.activeRuns(project.slug);
      for (const run of active) await ops.attempt(['run', 'cancel', run.id]);
      for (const run of active) await ops.wait(run.id, '2m');
    }
    for (const project of await ops.projects()) {
      for (const environment of await ops.environments(project.slug)) owned.add(environment.id);
    }
    for (const box of await using(ops.installation.dataDir, await containers())) installations.add(box.installation);
  } catch (error) {
    problems.push(`before the end: ${String(error)}`);
  }
  const code = await stop(child);
  if (code !== 0) problems.push(`\`ops up\` ended with ${code} after SIGTERM`);

  const [boxes, nets] = [await containers(), await networks()];
  for (const thing of [...(await using(ops.installation.dataDir, boxes)), ...nets.filter((n) => owned.has(n.environment))]) {
    installations.add(thing.installation);
  }
  const left = {
    boxes: boxes.filter((box) => installations.has(box.installation)),
    nets: nets.filter((net) => installations.has(net.installation)),
  };
  for (const thing of [...left.boxes, ...left.nets]) {
    if (!owned.has(thing.environment)) problems.push(`${thing.name} is left over in Docker and no environment owns it`);
  }
  await removeContainers(left.boxes.map((box) => box.id));
  await removeNetworks(left.nets.map((net) => net.id));
  if (problems.length > 0) {
    problems.push(`the installation is kept in ${ops.installation.dataDir}`);
    throw new Error(problems.join('\n'));
  }
  rmSync(ops.installation.dataDir, { recursive: true, force: true });
}

/// SIGTERM, and the exit code. What does not end in time is killed, which is then an error.
function stop(child: ChildProcess): Promise<number | string> {
  if (child.exitCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP);
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      resolve(code ?? signal ?? 'no code');
    });
    child.kill('SIGTERM');
  });
}
