/** An edge of its own whose model file is truncated, then corrupted, then missing, then whole. */
import { copyFile, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EdgePart, startEdge } from '../../infra/local/edge-part.ts';
import { assetsDirectory } from '../../infra/local/paths.ts';
import { freePort } from '../../infra/local/ports.ts';
import { EdgeClient, model, runningEdge } from './edge.ts';

const running = runningEdge();
const whole = join(assetsDirectory, `models/${model}.tlm`);
let directory: string;
let file: string;
let part: EdgePart;
let client: EdgeClient;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'treeline-models-'));
  const assets = join(directory, 'assets');
  file = join(assets, `models/${model}.tlm`);
  await mkdir(join(assets, 'models'), { recursive: true });
  await copyFile(whole, file);
  await truncate(file, 1_000_000);
  part = await startEdge({
    host: running.host,
    port: await freePort(),
    directory,
    assets,
    variables: { DATABASE_URL: running.databaseUrl, MODEL_FOLDER: assets },
    readyPath: '/v2/health/live',
    onLine: () => undefined,
  });
  client = new EdgeClient(part.url, running.key);
});

afterAll(async () => {
  await part?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** The status of a call to MiniLM, once the host has noticed the change of its files. */
const status = async (): Promise<number> => {
  const response = await client.call('/v1/embeddings', { body: { model, input: 'hello world' } });
  await response.body?.cancel();
  return response.status;
};

async function expectUnavailable(): Promise<void> {
  const { status, headers, body } = await client.json('/v1/embeddings', { body: { model, input: 'hello world' } });
  expect([status, body.error.code, body.error.type]).toEqual([503, 'model_unavailable', 'server_error']);
  expect(body.error.message).toContain(model);
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
}

test('a truncated model file is a 503 that says so, at every door', async () => {
  await expectUnavailable();
  for (const path of ['/v2/health/ready', `/v2/models/${model}/ready`]) {
    const { status, body } = await client.json(path);
    expect([status, body.code]).toEqual([503, 'model_unavailable']);
  }
  expect((await client.json('/infer', { body: { model_id: 'test', input: { text: 'a' } } })).body.code).toBe(
    'model_unavailable',
  );
});

test('the other model goes on', async () => {
  const { status, body } = await client.json('/v1/embeddings', {
    body: { model: 'treeline-static-v1', input: 'hello' },
  });
  expect([status, body.data?.[0]?.embedding?.length]).toEqual([200, expect.any(Number)]);
});

test('one flipped bit among 23 million bytes is found', async () => {
  const bytes = await readFile(whole);
  const at = Math.floor(bytes.byteLength / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(file, bytes);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await expectUnavailable();
});

test('a file that is gone is a 503 too', async () => {
  await rm(file);
  await expect.poll(status, { timeout: 20_000, interval: 500 }).toBe(503);
});

test('once the file is whole the model answers, without a restart', async () => {
  await copyFile(whole, file);
  await expect.poll(status, { timeout: 20_000, interval: 500 }).toBe(200);
});
