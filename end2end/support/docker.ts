// What an installation has in Docker, found by the labels that it puts on everything.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

interface Thing {
  id: string;
  installation: string;
  environment: string;
  name: string;
}

async function docker(...command: string[]): Promise<string> {
  return (await execute('docker', command, { maxBuffer: 64 * 1024 * 1024 })).stdout.trim();
}

const FORMAT = '{{.ID}}\t{{.Label "odooops.installation"}}\t{{.Label "odooops.environment"}}\t';

async function list(...command: string[]): Promise<Thing[]> {
  const text = await docker(...command);
  return text === ''
    ? []
    : text.split('\n').map((line) => {
        const [id = '', installation = '', environment = '', name = ''] = line.split('\t');
        return { id, installation, environment, name };
      });
}

export function containers(): Promise<Thing[]> {
  return list('ps', '--all', '--no-trunc', '--filter', 'label=odooops.installation', '--format', `${FORMAT}{{.Names}}`);
}

export function networks(): Promise<Thing[]> {
  return list('network', 'ls', '--no-trunc', '--filter', 'label=odooops.installation', '--format', `${FORMAT}{{.Name}}`);
}

/// Which of these containers use files of an installation's data directory.
export async function using(dataDir: string, boxes: Thing[]): Promise<Thing[]> {
  if (boxes.length === 0) return [];
  const format = '{{.ID}}{{range .Mounts}}\t{{.Source}}{{end}}';
  const text = await docker('inspect', '--type', 'container', '--format', format, ...boxes.map((box) => box.id));
  const ids = text.split('\n').flatMap((line) => {
    const [id, ...sources] = line.split('\t');
    return sources.some((source) => source.startsWith(`${dataDir}/`)) ? [id] : [];
  });
  return boxes.filter((box) => ids.includes(box.id));
}

export async function removeContainers(ids: string[]): Promise<void> {
  if (ids.length > 0) await docker('rm', '--force', '--volumes', ...ids);
}

export async function removeNetworks(ids: string[]): Promise<void> {
  if (ids.length > 0) await docker('network', 'rm', ...ids);
}
