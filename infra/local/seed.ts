/** An SQL file of the user's that a start runs on its database, once the migrations are applied. */
import { readFile, stat } from 'node:fs/promises';
import pg from 'pg';

/** A file as it was read. */
export interface Seed {
  readonly path: string;
  readonly text: string;
}

const seedBytesMax = 64 * 1024 * 1024;
const connectTimeoutMs = 10_000;

/** Reads the file at `path`. Throws where it cannot be read or is larger than 64 MiB. */
export async function readSeed(path: string): Promise<Seed> {
  try {
    const { size } = await stat(path);
    if (size > seedBytesMax) throw new Error(`it has ${size} bytes, more than ${seedBytesMax}`);
    return { path, text: await readFile(path, 'utf8') };
  } catch (cause) {
    throw new Error(`The seed ${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** Where in `text` the database saw an error: `, line 3`, or nothing where it did not say. */
function lineOf(text: string, error: unknown): string {
  const position = error instanceof pg.DatabaseError ? Number(error.position) : Number.NaN;
  // The database counts characters, not UTF-16 units.
  return position > 0
    ? `, line ${
        [...text]
          .slice(0, position - 1)
          .join('')
          .split('\n').length
      }`
    : '';
}

/**
 * Runs the statements on the database at `databaseUrl`: all of them or, where one fails, none, unless the file divides
 * them into transactions itself. Throws with the file, the line where it is known, and what the database said.
 */
export async function applySeed(databaseUrl: string, { path, text }: Seed): Promise<void> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: connectTimeoutMs,
    application_name: 'treeline-seed',
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(text);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${path}${lineOf(text, cause)}: ${message}`, { cause });
  } finally {
    await client.end();
  }
}
