/** The edge with services of other kinds: Neon's driver on both hosts, and the machine's own PostgreSQL and Redis. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import pg from 'pg';
import { beforeEach, describe, expect, it } from 'vitest';
import { ensureDebianFile } from '../../infra/local/debian-packages.ts';
import { freePort } from '../../infra/local/ports.ts';
import { type Stack, startStack } from '../../infra/local/stack.ts';
import { startDatabase } from './databases.ts';
import { startNeonProxy } from './neon-proxy.ts';

const startTimeoutMs = 120_000;

let directory: string;
let closing: (() => Promise<unknown>)[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'treeline-services-'));
  await chmod(directory, 0o711);
  closing = [];
  return async () => {
    for (const close of closing.reverse()) await close();
    await rm(directory, { recursive: true, force: true });
  };
});

async function post(address: string, body: unknown, key: string): Promise<Response> {
  return fetch(address, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
  });
}

const embeddings = ({ url }: Stack, input: string, key: string) =>
  post(`${url}/v1/embeddings`, { model: 'all-minilm-l6-v2', input }, key);

/** How many calls the database has on record, as its superuser sees it. */
async function usageRows(databaseUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const { rows } = await client.query('select count(*)::int as count from treeline.usage');
  await client.end();
  return rows[0].count;
}

describe.each(['workers', 'supabase'] as const)("Neon's driver on %s", (host) => {
  it(
    'finds keys over HTTP, and writes usage over a WebSocket',
    async () => {
      const database = await startDatabase();
      closing.push(database.remove);
      const proxy = await startNeonProxy(database.url);
      closing.push(proxy.close);
      const environment = { DATABASE_URL: database.url, NEON_PROXY: proxy.origin };
      const stack = await startStack({ host, port: await freePort(), directory, environment });
      closing.push(stack.stop);
      const before = proxy.served();

      expect((await embeddings(stack, 'over Neon', stack.key)).status).toBe(200);
      expect((await embeddings(stack, 'over Neon', `tl_${'0'.repeat(48)}`)).status).toBe(401);
      await expect.poll(() => usageRows(database.url), { timeout: 10_000 }).toBe(1);
      expect(proxy.served().queries).toBeGreaterThan(before.queries);
      expect(proxy.served().webSockets).toBeGreaterThan(before.webSockets);
    },
    startTimeoutMs,
  );
});

const missing =
  (await ensureDebianFile('/usr/lib/postgresql/15/bin/initdb', ['postgresql-15'])) ??
  (await ensureDebianFile('/usr/bin/redis-server', ['redis-server']));

describe.skipIf(missing !== null)(`the machine's own services ${missing ?? ''}`, () => {
  it(
    'serve the edge, also on the ports of single services; what one isolate stored is in Redis',
    async () => {
      const infer = await freePort();
      const stack = await startStack({
        host: 'workers',
        port: await freePort(),
        directory,
        services: 'machine',
        forwardedPorts: [infer],
      });
      closing.push(stack.stop);
      const answer = await post(
        `http://localhost:${infer}/infer`,
        { model_id: 'test', input: { text: 'hello' } },
        stack.key,
      );
      expect(answer.status).toBe(200);

      expect((await embeddings(stack, 'kept in Redis', stack.key)).status).toBe(200);
      const again = await embeddings(stack, 'kept in Redis', stack.key);
      expect(again.headers.get('cache-status')).toContain('hit');
      const redis = new Redis(stack.redisUrl ?? '');
      closing.push(async () => redis.disconnect());
      await expect.poll(() => redis.dbsize(), { timeout: 5_000 }).toBeGreaterThan(0);
      await expect.poll(() => usageRows(stack.databaseUrl), { timeout: 10_000 }).toBe(3);
    },
    startTimeoutMs,
  );
});

it(
  'gives back the port of a single service that another one has, and stops the rest',
  async () => {
    const taken = await freePort();
    const first = await startStack({ host: 'supabase', port: taken, directory });
    closing.push(first.stop);
    const other = await mkdtemp(join(tmpdir(), 'treeline-services-'));
    await chmod(other, 0o711);
    const second = startStack({ host: 'supabase', port: await freePort(), directory: other, forwardedPorts: [taken] });
    await expect(second).rejects.toThrow(`Port ${taken} is in use by another program.`);
    await rm(other, { recursive: true });
  },
  startTimeoutMs,
);
