/**
 * Makes `.venv`, with the Python packages that the tests use: clients made by others, schemathesis, the formatter of SQL,
 * and a real ONNX model. Does nothing where it is there already with these versions.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureDebianFile } from '../../infra/local/debian-packages.ts';
import { projectDirectory } from '../../infra/local/paths.ts';

const folder = join(projectDirectory, '.venv');
const requirements = join(projectDirectory, 'tests/python/requirements.txt');
/** Which requirements the environment was made from. */
const stampPath = join(folder, 'requirements.sha256');

const readText = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
};

function run(program: string, ...parameters: string[]): void {
  const { status, error } = spawnSync(program, parameters, { stdio: 'inherit' });
  if (status !== 0)
    throw new Error(`${program} ${parameters.join(' ')} failed${error === undefined ? '' : `: ${error.message}`}`);
}

async function main(): Promise<void> {
  const stamp = createHash('sha256').update(readFileSync(requirements)).digest('hex');
  if (readText(stampPath) === stamp) return;
  rmSync(folder, { recursive: true, force: true });
  const { status } = spawnSync('python3', ['-c', 'import ensurepip, venv']);
  if (status !== 0) {
    const reason = await ensureDebianFile('/usr/share/doc/python3-venv', ['python3', 'python3-venv']);
    if (reason !== null) throw new Error(`Python 3 with its module venv is needed. ${reason}`);
  }
  run('python3', '-m', 'venv', folder);
  run(join(folder, 'bin/pip'), 'install', '--quiet', '--disable-pip-version-check', '--requirement', requirements);
  writeFileSync(stampPath, stamp);
}

await main();
