/** The whole application in this process, with the real modules and a host of files. */
import { beforeEach, expect, test } from 'vitest';
import {
  goModules,
  ManualClock,
  MemoryBackground,
  MemoryLog,
  MemoryStore,
  noSearches,
  ScriptedSql,
  seededRandom,
} from '../tests/support/ports.ts';
import { repositoryFile } from '../tests/wasm/modules.ts';
import { initSync } from '../wasm-rust/pkg/inference/treeline_inference.js';
import { createApp } from './app.ts';
import { parseConfiguration } from './configuration.ts';
import { type Platform, SqlUnavailable } from './ports.ts';

const tenantId = '00000000-0000-4000-8000-000000000001';
const model = 'treeline-static-v1';
let clock: ManualClock;
let log: MemoryLog;
let sql: ScriptedSql;
let store: MemoryStore;
let background: MemoryBackground;
let app: ReturnType<typeof createApp>;

function createPlatform(): Platform {
  return {
    name: 'test',
    clock,
    random: seededRandom(1),
    sql,
    sharedStore: store,
    identity: null,
    poolFetch: null,
    log,
    singletons: { update: () => Promise.reject(new Error('nothing here is single')) },
    searches: noSearches,
    objects: { open: async () => null },
    wasm: {
      compiled: async (name) =>
        name === 'inference'
          ? new WebAssembly.Module(repositoryFile('wasm-rust/pkg/inference/treeline_inference_plain_bg.wasm'))
          : goModules.compiled(name),
    },
    staticModel: async () => repositoryFile('wasm-rust/pkg/static/treeline-static-v1.tlm'),
  };
}

beforeEach(() => {
  clock = new ManualClock();
  log = new MemoryLog();
  sql = new ScriptedSql();
  store = new MemoryStore(clock);
  background = new MemoryBackground();
  app = createApp(createPlatform(), parseConfiguration({ ANONYMOUS_TENANT_ID: tenantId }));
});

async function call(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const sent = {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  };
  const request = new Request(`http://edge.test${path}`, body === undefined ? { headers } : sent);
  const response = await app.fetch(request, { background });
  await background.settle();
  return response;
}

/** What a stray write would do to the inference module: every pointer that it follows is out of bounds from now on. */
function breakInferenceModule(): void {
  const { memory } = initSync({ module: new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)) });
  new Uint8Array(memory.buffer).fill(0xff);
}

test('a module that traps costs one request a 500 with its trace id; the next one is answered', async () => {
  const before = await (await call('/v1/embeddings', { model, input: 'hello' })).json();
  breakInferenceModule();
  const failed = await call('/v1/embeddings', { model, input: 'hello' }, { 'cache-control': 'no-store' });
  const { error } = await failed.json();
  expect([failed.status, error.code]).toEqual([500, 'computation_failed']);
  expect(error.trace_id).toMatch(/^[0-9a-f]{32}$/);
  expect(failed.headers.get('x-trace-id')).toBe(error.trace_id);
  const after = await call('/v1/embeddings', { model, input: 'hello' }, { 'cache-control': 'no-store' });
  expect([after.status, await after.json()]).toEqual([200, before]);
  const { traces } = await (await call(`/api/v1/tracing/trace?trace_id=${error.trace_id}`)).json();
  expect(traces[0].spans.find(({ name }: { name: string }) => name === 'inference').status).toBe('error');
  expect(await (await call('/metrics')).text()).toContain('treeline_wasm_traps_total{module="inference"} 1');
});

test('a model that is not in the store is a 503 that says so, and the other one answers', async () => {
  const missing = await call('/v1/embeddings', { model: 'all-minilm-l6-v2', input: 'hello' });
  expect([missing.status, (await missing.json()).error.code]).toEqual([503, 'model_unavailable']);
  expect((await call('/v1/embeddings', { model, input: 'hello' })).status).toBe(200);
});

test('usage is written after the answer, and waits where the database is away', async () => {
  sql.answer = () => {
    throw new SqlUnavailable('refused');
  };
  expect((await call('/v1/embeddings', { model, input: 'hello' })).status).toBe(200);
  sql.answer = () => [];
  clock.advance(10_000);
  await call('/v1/models');
  const written = sql.statements.filter(({ text }) => text.includes('into treeline.usage'));
  expect(written).toHaveLength(2);
  expect(written[1]).toEqual(written[0]);
});

test('no secret leaves: neither key nor text is in a log line, a trace or a metric', async () => {
  const key = `tl_${'5ec2e7'.repeat(8)}`;
  sql.answer = ({ text }) => {
    if (text.includes('authenticate')) return [{ key_id: 'key-1', tenant_id: tenantId }];
    throw new SqlUnavailable('refused');
  };
  const headers = { authorization: `Bearer ${key}` };
  await call('/v1/embeddings', { model, input: 'a very private sentence' }, headers);
  await call('/v1/embeddings', { model: 'none', input: 'a very private sentence' }, headers);
  breakInferenceModule();
  await call(
    '/v1/embeddings',
    { model, input: 'a very private sentence', user: 'someone' },
    { ...headers, 'cache-control': 'no-store' },
  );
  const traces = await (await call('/api/v1/tracing/trace', undefined, headers)).text();
  const metrics = await (await call('/metrics', undefined, headers)).text();
  const told = traces + metrics + JSON.stringify(log.lines) + [...store.entries.keys()].join();
  expect(log.lines.length).toBeGreaterThan(0);
  expect(told).not.toMatch(/5ec2e7|very private|someone/);
});
