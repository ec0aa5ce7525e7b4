/**
 * PostgreSQL refuses to run as root. Where we are root (a container, mostly), it runs as an account without rights,
 * and its files must lie where that account can reach them.
 */
import { createHash } from 'node:crypto';
import { chown, cp, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** An account of this machine. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const candidates = ['postgres', 'nobody'];
const executeByOthers = 0o001;

/** The account to run PostgreSQL as: null where we are not root, and it runs as ourselves. */
export async function unprivilegedAccount(): Promise<Account | null> {
  if (process.getuid?.() !== 0) return null;
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of candidates) {
    const found = lines.find(([account]) => account === name);
    if (found !== undefined) return { uid: Number(found[2]), gid: Number(found[3]) };
  }
  throw new Error('PostgreSQL does not run as root, and neither of the accounts postgres and nobody exists here.');
}

/** Whether `account` may enter `path` and every folder above it. */
async function canEnter(account: Account, path: string): Promise<boolean> {
  const { mode, uid } = await stat(path);
  if (uid !== account.uid && (mode & executeByOthers) === 0) return false;
  const parent = dirname(path);
  return parent === path || canEnter(account, parent);
}

/** Where root keeps what another account must reach: not in the shared temporary folder, and there after a restart. */
const substitutes = '/var/lib/treeline';

/** A folder outside the checkout that stands for `path`: the same one each time. */
function substituteFor(path: string): string {
  const name = createHash('sha256').update(path).digest('hex').slice(0, 16);
  return join(substitutes, `${basename(path)}-${name}`);
}

/** Makes the folder `path`, or its substitute where `account` cannot enter it, owned by `account`; returns which. */
export async function folderFor(account: Account | null, path: string): Promise<string> {
  // Apart, because a mode given to a recursive mkdir holds for the folders above as well.
  await mkdir(dirname(path), { recursive: true });
  await mkdir(path, { recursive: true, mode: 0o700 });
  if (account === null) return path;
  const chosen = (await canEnter(account, dirname(path))) ? path : substituteFor(path);
  await mkdir(dirname(chosen), { recursive: true });
  await mkdir(chosen, { recursive: true, mode: 0o700 });
  await chown(chosen, account.uid, account.gid);
  return chosen;
}

/** The folder `path`, or a copy of it where `account` cannot enter it. The copy is made once. */
export async function readableFolderFor(account: Account | null, path: string): Promise<string> {
  if (account === null || (await canEnter(account, path))) return path;
  const copy = substituteFor(path);
  const there = await stat(copy).catch(() => null);
  if (there !== null) return copy;
  const partial = `${copy}.${process.pid}.partial`;
  await mkdir(dirname(copy), { recursive: true });
  await cp(path, partial, { recursive: true, verbatimSymlinks: true });
  await rename(partial, copy).catch(() => rm(partial, { recursive: true }));
  return copy;
}
