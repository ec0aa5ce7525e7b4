/** The tenant and the key of a local run: made once, kept in a file that only its owner reads. */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import pg from 'pg';
import { z } from 'zod';
import { keepSecretFile } from './secret-file.ts';

/** Who a local run acts for. */
export interface DevelopmentTenant {
  readonly tenantId: string;
  /** The key itself, such as `tl_` and 48 hexadecimal digits. The database has its hash only. */
  readonly key: string;
}

/** Random bytes of a key: 192 bits, which nobody guesses. */
const keyBytes = 24;
/** Characters of a key that the database keeps for display: `tl_` and 8 more. */
const prefixCharacters = 11;

const fileSchema = z.object({ tenantId: z.uuid(), key: z.string().regex(/^tl_[0-9a-f]{48}$/) });

function make(): string {
  const made: DevelopmentTenant = { tenantId: randomUUID(), key: `tl_${randomBytes(keyBytes).toString('hex')}` };
  return `${JSON.stringify(made, null, 2)}\n`;
}

/** The tenant kept in `directory`; a new one the first time. */
export async function developmentTenant(directory: string): Promise<DevelopmentTenant> {
  const path = join(directory, 'development.json');
  return fileSchema.parse(JSON.parse(await keepSecretFile(path, make)));
}

/** Makes sure that the database at `databaseUrl` knows the tenant and its key. */
export async function provision(databaseUrl: string, { tenantId, key }: DevelopmentTenant): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const hash = createHash('sha256').update(key).digest('hex');
    const values = [tenantId, 'development', 'make start', key.slice(0, prefixCharacters), hash];
    await client.query('select treeline.provision($1, $2, $3, $4, $5)', values);
  } finally {
    await client.end();
  }
}
