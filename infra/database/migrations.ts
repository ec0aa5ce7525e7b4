/**
 * The migrations as files: their names, their order and their checksums, and what is still to be done on a database
 * that has some of them. No database here; `migrate.ts` does the work.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One migration as it lies in the folder. */
export interface Migration {
  /** The file's name, such as `0001_create_schema_and_roles.sql`. */
  readonly name: string;
  readonly text: string;
  /** SHA-256 of the text with line endings as on Unix, in hexadecimal. */
  readonly checksum: string;
}

/** One migration as the database remembers it. */
export interface AppliedMigration {
  readonly name: string;
  readonly checksum: string;
}

/** The files and the database's memory of them contradict each other; nothing was changed. */
export class MigrationConflict extends Error {
  override readonly name = 'MigrationConflict';
}

const namePattern = /^\d{4}_[a-z0-9]+(_[a-z0-9]+)*\.sql$/;

/** The checksum of a migration's text: the same for the same lines, however the checkout ends them. */
export function checksumOf(text: string): string {
  return createHash('sha256').update(text.replaceAll('\r\n', '\n')).digest('hex');
}

/** Reads all migrations of `directory`, in order. Throws where a `.sql` file's name does not tell its place. */
export async function readMigrations(directory: string): Promise<Migration[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort();
  const odd = names.find((name) => !namePattern.test(name));
  if (odd !== undefined) throw new MigrationConflict(`${odd}: a migration is named like 0001_verb_noun.sql.`);
  const texts = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')));
  return names.map((name, index) => {
    const text = texts[index] ?? '';
    return { name, text, checksum: checksumOf(text) };
  });
}

/**
 * The migrations that are still to be applied, in order. Throws `MigrationConflict` where an applied one was changed or
 * removed, or where a new one was put before an applied one: the database would then differ from a new one.
 */
export function pendingMigrations(files: readonly Migration[], applied: readonly AppliedMigration[]): Migration[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  for (const { name, checksum } of applied) {
    const file = byName.get(name);
    if (file === undefined) throw new MigrationConflict(`${name} was applied to this database, but is not here.`);
    if (file.checksum !== checksum)
      throw new MigrationConflict(`${name} was changed after it was applied. Put it back, and write a new migration.`);
  }
  const appliedNames = new Set(applied.map(({ name }) => name));
  const pending = files.filter(({ name }) => !appliedNames.has(name));
  const newest = [...appliedNames].sort().at(-1);
  const late = pending.find(({ name }) => newest !== undefined && name < newest);
  if (late !== undefined)
    throw new MigrationConflict(
      `${late.name} comes before ${newest}, which was already applied. Give it a later number.`,
    );
  return pending;
}
