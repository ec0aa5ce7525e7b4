/** Debian's packages, for the real services: installed where they are missing and we may. */
import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import { promisify } from 'node:util';

const installTimeoutMs = 10 * 60_000;
const installer = '/usr/bin/apt-get';
const run = promisify(execFile);

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Whether packages can be installed here: Debian or a relative of it, and we are root. */
export async function canInstall(): Promise<boolean> {
  return process.getuid?.() === 0 && (await exists(installer));
}

/** Installs `packages`. Throws with the installer's last words. */
export async function installPackages(packages: readonly string[]): Promise<void> {
  // RUNLEVEL: a package need not start its service, since a run starts one of its own, with data of its own.
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const options = { timeout: installTimeoutMs, env: environment };
  // The lists may be old, or absent as in a container; where they cannot be had, the packages may be there all the same.
  await run(installer, ['update', '-q'], options).catch(() => undefined);
  await run(installer, ['install', '-q', '-y', '--no-install-recommends', ...packages], options);
}

/**
 * Makes sure that `path` is there, by installing `packages` where it is not. Returns null, or what to do where it is
 * not there and cannot be installed.
 */
export async function ensureDebianFile(path: string, packages: readonly string[]): Promise<string | null> {
  if (await exists(path)) return null;
  const wanted = packages.join(' ');
  if (!(await canInstall())) return `Install ${wanted}.`;
  await installPackages(packages).catch(() => undefined);
  return (await exists(path)) ? null : `${wanted} could not be installed.`;
}
