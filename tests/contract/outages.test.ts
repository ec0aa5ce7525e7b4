/** An edge of its own, without an anonymous tenant, whose database and store are away at the start and later again. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EdgePart, startEdge } from '../../infra/local/edge-part.ts';
import { freePort } from '../../infra/local/ports.ts';
import { Door } from '../support/outage.ts';
import { EdgeClient, freshText, model, runningEdge } from './edge.ts';
import { makeKey, revokeKey, usageOf } from './keys.ts';

const running = runningEdge();
/** How long the edge leaves the store and the usage table alone after a failure, and a little more. */
const pauseMs = 5_500;
let directory: string;
let database: Door;
let store: Door;
let part: EdgePart;
let client: EdgeClient;
let known: { key: string; tenantId: string };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'treeline-outage-'));
  database = await Door.to(running.databaseUrl);
  store = await Door.to(running.storeUrl);
  known = await makeKey(running.databaseUrl);
  part = await startEdge({
    host: running.host,
    port: await freePort(),
    directory,
    variables: {
      DATABASE_URL: database.through(running.databaseUrl),
      UPSTASH_REDIS_REST_URL: store.through(running.storeUrl),
      UPSTASH_REDIS_REST_TOKEN: running.storeToken,
    },
    onLine: () => undefined,
  });
  client = new EdgeClient(part.url, known.key);
});

afterAll(async () => {
  await part?.stop();
  await Promise.all([database?.shut(), store?.shut()]);
  await rm(directory, { recursive: true, force: true });
});

const embed = (key: string | null = known.key) =>
  client.json('/v1/embeddings', { key, body: { model, input: freshText() } });

const storeFailures = async (): Promise<number> => {
  const text = await (await client.call('/metrics')).text();
  return [...text.matchAll(/^treeline_shared_store_failures_total\{.*\} (\d+)$/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
};

test('with the database away at the start the edge is up, and a key gets 503 with Retry-After', async () => {
  const { status, body, headers } = await embed();
  expect([status, body.error.code]).toEqual([503, 'database_unavailable']);
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await client.call('/v2/health/live', { key: null })).status).toBe(200);
});

test('what needs no database is refused as ever', async () => {
  expect((await embed(null)).status).toBe(401);
  expect((await embed('tl_short')).status).toBe(401);
});

test('when the database comes the same key works, while the store is still away', async () => {
  await database.open();
  const { status, body } = await embed();
  expect([status, body.data?.[0]?.embedding?.length]).toEqual([200, 384]);
  expect(await storeFailures()).toBeGreaterThan(0);
});

test('a store that is away costs no call, and little time', async () => {
  const startedAt = performance.now();
  for (let count = 0; count < 5; count += 1) expect((await embed()).status).toBe(200);
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

test('when the store comes it is used again', async () => {
  await store.open();
  await delay(pauseMs);
  const failures = await storeFailures();
  for (let count = 0; count < 3; count += 1) expect((await embed()).status).toBe(200);
  expect(await storeFailures()).toBe(failures);
});

test('when the store goes away later, calls and the isolate’s cache go on', async () => {
  const body = { model, input: freshText() };
  await client.json('/v1/embeddings', { body });
  await store.shut();
  const { status, headers } = await client.json('/v1/embeddings', { body });
  expect([status, headers.get('cache-status')]).toEqual([200, expect.stringContaining('hit')]);
  expect((await embed()).status).toBe(200);
  await store.open();
});

test('no key, a wrong key and a withdrawn key are each a 401 that says so', async () => {
  const none = await embed(null);
  expect([none.status, none.body.error.code, none.body.error.type]).toEqual([
    401,
    'missing_api_key',
    'authentication_error',
  ]);
  expect(none.headers.get('www-authenticate')).toContain('Bearer');
  const wrong = await embed(`tl_${'0'.repeat(48)}`);
  expect([wrong.status, wrong.body.error.code]).toEqual([401, 'invalid_api_key']);
  const { key } = await makeKey(running.databaseUrl);
  await revokeKey(running.databaseUrl, key);
  const revoked = await embed(key);
  expect([revoked.status, revoked.body.error.code]).toEqual([401, 'invalid_api_key']);
  expect(JSON.stringify([none.body, wrong.body, revoked.body])).not.toContain(key);
});

test('a key comes as Bearer, x-api-key or apikey, and every door asks for it', async () => {
  for (const name of ['x-api-key', 'apikey']) {
    const { status } = await client.json('/v1/models', { key: null, headers: { [name]: known.key } });
    expect(status).toBe(200);
  }
  for (const path of ['/v1/models', '/metrics', '/api/v1/tracing/trace', `/v2/models/${model}`]) {
    const response = await client.call(path, { key: null });
    await response.body?.cancel();
    expect([path, response.status]).toEqual([path, 401]);
  }
});

test('when the database goes away later, a known key goes on, an unknown one gets 503, and no usage is lost', async () => {
  const fresh = await makeKey(running.databaseUrl);
  const own = { key: fresh.key, body: { model, input: freshText() } };
  expect((await client.json('/v1/embeddings', own)).status).toBe(200);
  await delay(500);
  await database.shut();
  for (let count = 0; count < 3; count += 1) expect((await client.json('/v1/embeddings', own)).status).toBe(200);
  const unknown = await makeKey(running.databaseUrl);
  const refused = await embed(unknown.key);
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, expect.stringMatching(/^\d+$/)]);
  await database.open();
  expect((await embed(unknown.key)).status).toBe(200);
  await delay(pauseMs);
  expect((await client.json('/v1/embeddings', own)).status).toBe(200);
  await expect
    .poll(async () => (await usageOf(running.databaseUrl, fresh.tenantId)).length, { timeout: 10_000 })
    .toBe(5);
});
