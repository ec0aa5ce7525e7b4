/** Debian's packages, for tests that want the real services: installed where they are missing and we may. */
import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import { promisify } from 'node:util';

const installTimeoutMs = 10 * 60_000;
const run = promisify(execFile);

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * Makes sure that `path` is there, by installing Debian's `packages` where it is not. Returns null, or why it is not
 * there: no Debian, or no right to install.
 */
export async function ensureDebianFile(path: string, packages: readonly string[]): Promise<string | null> {
  if (await exists(path)) return null;
  const wanted = packages.join(' ');
  if (process.getuid?.() !== 0 || !(await exists('/usr/bin/apt-get'))) return `Install ${wanted} for this test.`;
  const options = { timeout: installTimeoutMs, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  await run('apt-get', ['update', '-q'], options).catch(() => undefined);
  await run('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...packages], options).catch(() => undefined);
  return (await exists(path)) ? null : `${wanted} could not be installed.`;
}
