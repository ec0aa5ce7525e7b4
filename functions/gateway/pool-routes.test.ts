/** The pool through the whole application: chat, embeddings, jobs and the boundary, as clients call them. */
import { create, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { chatModel, described, type NodeBehaviour, saying, startNode } from '../../tests/support/pool-node.ts';
import {
  goModules,
  ManualClock,
  MemoryBackground,
  MemoryLog,
  noSearches,
  ScriptedSql,
  seededRandom,
} from '../../tests/support/ports.ts';
import { repositoryFile } from '../../tests/wasm/modules.ts';
import { createApp } from '../app.ts';
import { parseConfiguration } from '../configuration.ts';
import { sha256 } from '../digest.ts';
import { EngineStatsSchema } from '../pool-client/gen/engine_pb.js';
import { FinishReason, JobState, ModelState, type SubmitJobRequest } from '../pool-client/gen/services_pb.js';

const tenantId = '00000000-0000-4000-8000-000000000001';
const closing: { close(): Promise<void> }[] = [];
let sql: ScriptedSql;
let background: MemoryBackground;
beforeEach(() => {
  sql = new ScriptedSql();
  background = new MemoryBackground();
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map((server) => server.close()));
});

const encoder = { name: 'encoder', version: '1', state: ModelState.READY, capabilities: ['embed'] };

/** The application in front of one node that behaves as told; `more` are further variables. */
async function setUp(behaviour: NodeBehaviour, more: Record<string, string> = {}) {
  let address = '';
  const listNodes = () => ({ nodes: [described('node', address, { models: [chatModel, encoder] })] });
  const node = await startNode({ ...behaviour, node: { listNodes } });
  closing.push(node);
  address = node.url;
  const platform = {
    name: 'test',
    clock: new ManualClock(),
    random: seededRandom(1),
    sql,
    sharedStore: null,
    identity: null,
    poolFetch: null,
    log: new MemoryLog(),
    singletons: { update: () => Promise.reject(new Error('nothing here is single')) },
    searches: noSearches,
    objects: { open: async () => null },
    wasm: goModules,
    staticModel: async () => repositoryFile('wasm-rust/pkg/static/treeline-static-v1.tlm'),
  };
  const variables = { ANONYMOUS_TENANT_ID: tenantId, POOL_DIRECTORY_URL: node.url, ...more };
  const app = createApp(platform, parseConfiguration(variables));
  const call = async (path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const sent =
      body === undefined
        ? { headers }
        : { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } };
    return app.fetch(new Request(`http://edge${path}`, sent), { background });
  };
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what an answer claims to be, and its expectations check it.
  const json = async (...parameters: Parameters<typeof call>): Promise<{ status: number; body: any }> => {
    const response = await call(...parameters);
    return { status: response.status, body: await response.json() };
  };
  return { node, call, json };
}

/** The rows of usage that were written. */
async function usageRows(): Promise<Record<string, unknown>[]> {
  await background.settle();
  const written = sql.statements.filter(({ text }) => text.includes('treeline.usage'));
  return written.flatMap(({ parameters }) => JSON.parse(String(parameters[1])));
}

const messages = [{ role: 'user', content: 'hello' }];

test('models of the isolate and of the pool are listed, each with its owner, and one by one', async () => {
  const { json } = await setUp({}, { UPSTREAM_BASE_URL: 'https://example.com/v1', UPSTREAM_MODELS: 'far,encoder' });
  const { body } = await json('/v1/models');
  expect(body.data.map(({ id, owned_by: owner }: Record<string, string>) => [id, owner])).toEqual([
    ['all-minilm-l6-v2', 'treeline'],
    ['treeline-static-v1', 'treeline'],
    ['encoder', 'pool'],
    [chatModel.name, 'pool'],
    ['far', 'upstream'],
    // Each of them may be searched over; whether the upstream's chat is for the upstream to say.
    [`abmcts/${chatModel.name}`, 'treeline'],
    ['abmcts/far', 'treeline'],
    ['abmcts/encoder', 'treeline'],
  ]);
  expect((await json(`/v1/models/${chatModel.name}`)).body).toMatchObject({ owned_by: 'pool', created: 1_793_491_200 });
});

test('chat goes to the pool, is accounted for, and traced', async () => {
  const { call } = await setUp({ inference: { generate: () => saying('Hi') } });
  const response = await call('/v1/chat/completions', { model: chatModel.name, messages, stream: true });
  expect([response.status, response.headers.get('server-timing')]).toEqual([200, expect.stringContaining('pool;dur=')]);
  expect(await response.text()).toContain('data: [DONE]');
  expect(await usageRows()).toMatchObject([
    { operation: 'chat', model: chatModel.name, input_tokens: 11, output_tokens: 1, cache_hit: false },
  ]);
});

test('an overloaded pool is a 429 that says when to come back', async () => {
  const full = new ConnectError('The queue is full.', Code.ResourceExhausted, { 'retry-after': '3' });
  const { call } = await setUp({
    inference: {
      generate: () => {
        throw full;
      },
    },
  });
  const response = await call('/v1/chat/completions', { model: chatModel.name, messages });
  expect([response.status, response.headers.get('retry-after')]).toEqual([429, '3']);
  expect(await response.json()).toMatchObject({
    error: { code: 'overloaded', type: 'rate_limit_error', message: 'The queue is full.' },
  });
});

test('a model that nobody has is told with those that there are; without a pool it is a 503', async () => {
  const { json, node } = await setUp({});
  const { status, body } = await json('/v1/chat/completions', { model: 'none', messages });
  expect([status, body.error.code, body.error.message]).toEqual([
    404,
    'model_not_found',
    `No chat model is named "none"; there are: ${chatModel.name}.`,
  ]);
  await node.close();
  const away = await setUp({}, { POOL_DIRECTORY_URL: node.url });
  const refused = await away.json('/v1/chat/completions', { model: chatModel.name, messages });
  expect([refused.status, refused.body.error.code]).toEqual([503, 'pool_unavailable']);
});

test('embeddings of a model that only the pool has come from there, through each door, and then from the cache', async () => {
  let calls = 0;
  const { json, call } = await setUp({
    inference: {
      embed: ({ texts }) => {
        calls += 1;
        const rows = texts.map((text) => (text === 'north' ? [0, 1] : [1, 0]));
        const tokenCounts = texts.map(() => 2);
        return { dimensions: 2, tokenCounts, vectors: new Uint8Array(new Float32Array(rows.flat()).buffer) };
      },
    },
  });
  const { body } = await json('/v1/embeddings', { model: 'encoder', input: ['east', 'north'] });
  expect(body.data.map(({ embedding }: { embedding: number[] }) => embedding)).toEqual([
    [1, 0],
    [0, 1],
  ]);
  expect(body.usage).toEqual({ prompt_tokens: 4, total_tokens: 4 });
  const again = await call('/v1/embeddings', { model: 'encoder', input: ['east', 'north'] });
  expect([again.headers.get('cache-status'), calls]).toEqual([expect.stringContaining('hit'), 1]);
  const many = await json('/v1/embeddings', { model: 'encoder', input: 'east', dimensions: 3 });
  expect([many.status, many.body.error.param]).toEqual([400, 'dimensions']);
  const ranked = await json('/v1/rerank', { model: 'encoder', query: 'north', documents: ['east', 'north'] });
  expect(ranked.body.results.map(({ index }: { index: number }) => index)).toEqual([1, 0]);
  const inferred = await json('/infer', { model_id: 'encoder', input: { text: 'north' } });
  expect(inferred.body.output).toEqual({ dimensions: 2, embeddings: [[0, 1]] });
  const tensors = { inputs: [{ name: 'text', shape: [1], datatype: 'BYTES', data: ['north'] }] };
  const open = await json('/v2/models/encoder/infer', tensors);
  expect(open.body).toMatchObject({ model_version: '1', outputs: [{ shape: [1, 2], data: [0, 1] }] });
  expect((await json('/v2/models/encoder')).body).toMatchObject({ platform: 'treeline_pool', versions: ['1'] });
  expect((await json('/v2/models/encoder/ready')).body).toEqual({ name: 'encoder', ready: true });
});

test('a job has the client’s name for it within the tenant, and its result is what a call would have answered', async () => {
  const submitted: SubmitJobRequest[] = [];
  const id = `job-${(await sha256(`${tenantId}/mine`)).slice(0, 32)}`;
  const { json } = await setUp({
    job: {
      submitJob: (request) => {
        submitted.push(request);
        return { id, state: JobState.QUEUED, submittedAtMs: 1_793_491_200_000n };
      },
      getJob: (request) => ({
        id: request.id,
        state: JobState.SUCCEEDED,
        attempt: 1,
        submittedAtMs: 1_793_491_200_000n,
        endedAtMs: 1_793_491_202_500n,
        generated: [
          {
            index: 0,
            text: 'Hi',
            model: chatModel.name,
            finishReason: FinishReason.STOP,
            usage: { promptTokens: 9, completionTokens: 2 },
          },
        ],
      }),
    },
  });
  const chat = { model: chatModel.name, messages };
  const queued = await json('/v1/jobs', { chat }, { 'idempotency-key': 'mine' });
  expect([queued.status, queued.body]).toEqual([
    202,
    {
      id: 'mine',
      object: 'job',
      status: 'queued',
      attempt: 0,
      created_at: 1_793_491_200,
      ended_at: null,
      error: null,
      result: null,
    },
  ]);
  expect(submitted[0]).toMatchObject({ idempotencyKey: `${tenantId}/mine`, call: { case: 'generate' } });
  for (let read = 0; read < 2; read += 1) {
    const { status, body } = await json('/v1/jobs/mine');
    expect([status, body.status, body.result]).toMatchObject([
      200,
      'succeeded',
      { object: 'chat.completion', choices: [{ message: { content: 'Hi' } }], usage: { total_tokens: 11 } },
    ]);
  }
  const rows = await usageRows();
  expect(rows).toMatchObject([
    { operation: 'job', model: chatModel.name, input_tokens: 9, output_tokens: 2, latency_ms: 2_500 },
    { operation: 'job' },
  ]);
  expect(rows[0]?.id).toBe(rows[1]?.id);
});

test('a job that is not there, and a pool without a queue, say so', async () => {
  const missing = await setUp({
    job: {
      getJob: () => {
        throw new ConnectError('There is no such job, or no longer.', Code.NotFound);
      },
    },
  });
  const { status, body } = await missing.json('/v1/jobs/none');
  expect([status, body.error.code]).toEqual([404, 'job_not_found']);
  const submit = await missing.json('/v1/jobs', { chat: { model: chatModel.name, messages } });
  expect([submit.status, submit.body.error.code]).toEqual([501, 'unsupported']);
});

test.each<[unknown, Record<string, string>]>([
  [{}, {}],
  [{ chat: { model: 'm', messages }, embedding: { model: 'm', input: 'a' } }, {}],
  [{ chat: { model: 'm', messages, stream: true } }, {}],
  [{ chat: { model: 'm', messages } }, { 'idempotency-key': 'a/b' }],
  [{ chat: { model: 'm', messages } }, { 'idempotency-key': 'a'.repeat(65) }],
])('the job %j with headers %j is refused', async (body, headers) => {
  const { json } = await setUp({});
  expect((await json('/v1/jobs', body, headers)).status).toBe(400);
});

test('the boundary is called through the edge, and its bytes are shown as what they are', async () => {
  const stats = toBinary(EngineStatsSchema, create(EngineStatsSchema, { calls: 7n }));
  const answers: Record<string, Uint8Array> = {
    sum: new Uint8Array(new BigUint64Array([455n]).buffer),
    embed: new Uint8Array(new Float32Array([0.5, -1]).buffer),
    stats,
  };
  const measured = { transport: 'ffi', bytes_copied: 0, elapsed_ns: 4_200 };
  const { json } = await setUp({
    ipc: {
      call: ({ operation, data }) => ({
        operation,
        data: answers[operation] ?? data,
        transport: 'ffi',
        elapsedNs: 4_200n,
      }),
    },
  });
  const call = async (body: object) => (await json('/api/v1/ipc/call', body)).body;
  expect(await call({ operation: 'echo', data: 'test' })).toEqual({ operation: 'echo', data: 'test', ...measured });
  expect(await call({ operation: 'echo', data: { base64: '/w==' } })).toMatchObject({ data: { base64: '/w==' } });
  expect(await call({ operation: 'sum', data: 'test' })).toMatchObject({ result: 455, ...measured });
  expect(await call({ operation: 'embed', data: 'a' })).toMatchObject({ result: { dimensions: 2, vector: [0.5, -1] } });
  expect((await call({ operation: 'stats' })).result).toMatchObject({ calls: '7', kv_blocks: '0', running: 0 });
  const wrong = await json('/api/v1/ipc/call', { operation: 'format' });
  expect([wrong.status, wrong.body.code]).toEqual([400, 'invalid_request']);
});

test('the document at /openapi.json names what the pool brings', async () => {
  const { status, body } = await (await setUp({})).json('/openapi.json');
  expect(status).toBe(200);
  const paths = ['/v1/jobs', '/v1/jobs/{id}', '/v1/jobs/{id}/cancel', '/api/v1/ipc/call'];
  expect(Object.keys(body.paths)).toEqual(expect.arrayContaining(paths));
});
