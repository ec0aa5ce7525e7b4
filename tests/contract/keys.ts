/** Tenants and keys for tests, made as `make start` makes its own. */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import pg from 'pg';
import { provision } from '../../infra/local/development-tenant.ts';

/** A new tenant and its key. */
export async function makeKey(databaseUrl: string): Promise<{ tenantId: string; key: string }> {
  const made = { tenantId: randomUUID(), key: `tl_${randomBytes(24).toString('hex')}` };
  await provision(databaseUrl, made);
  return made;
}

/** Runs one statement as `role`, in the transaction of `tenantId` where one is given. */
async function run(databaseUrl: string, role: string, tenantId: string, text: string, values: unknown[]) {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('begin');
    await client.query("select set_config('treeline.tenant_id', $1, true)", [tenantId]);
    await client.query(`set local role ${role}`);
    const { rows } = await client.query<Record<string, unknown>>(text, values);
    await client.query('commit');
    return rows;
  } finally {
    await client.end();
  }
}

/** What was recorded for `tenantId`, oldest first, as the tenant itself may read it. */
export const usageOf = (databaseUrl: string, tenantId: string): Promise<Record<string, unknown>[]> =>
  run(databaseUrl, 'treeline_edge', tenantId, 'select * from treeline.usage order by recorded_at', []);

/** Withdraws `key`. */
export async function revokeKey(databaseUrl: string, key: string): Promise<void> {
  const hash = createHash('sha256').update(key).digest('hex');
  const text = 'update treeline.api_keys set revoked_at = now() where key_hash = $1';
  await run(databaseUrl, 'treeline_keeper', '', text, [hash]);
}
