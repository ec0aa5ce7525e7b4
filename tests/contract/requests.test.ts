import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { EdgeClient, edge, model, runningEdge } from './edge.ts';

const client = edge();
/** Bytes of a body that are taken, after decompression. */
const bodyBytesMax = 4 * 1_048_576;
const json = { 'content-type': 'application/json' };

const code = (body: { error?: { code?: string } | string; code?: string }): string | undefined =>
  typeof body.error === 'object' ? body.error.code : body.code;

test.each([
  '/v1/embeddings',
  '/v1/similarity',
  '/v1/rerank',
  '/v1/chat/completions',
  '/infer',
  `/v2/models/${model}/infer`,
])('POST %s refuses what is not JSON', async (path) => {
  for (const body of ['{', '', 'null', '[]', '"text"', '{"model":"a",}', Uint8Array.of(0xff, 0xfe)]) {
    const answer = await client.json(path, { method: 'POST', body, headers: json });
    expect([answer.status, code(answer.body)]).toEqual([400, 'invalid_request']);
  }
});

test.each(['/v1/embeddings', '/v1/chat/completions', '/infer', `/v2/models/${model}/infer`])(
  'POST %s refuses a body over the bound, declared or not',
  async (path) => {
    const tooMuch = new Uint8Array(bodyBytesMax + 1).fill(0x20);
    const declared = await client.json(path, { body: tooMuch, headers: json });
    expect([declared.status, code(declared.body)]).toEqual([413, 'body_too_large']);
    const stream = new Blob([tooMuch]).stream();
    const undeclared = await client.json(path, { body: stream, headers: json });
    expect([undeclared.status, code(undeclared.body)]).toEqual([413, 'body_too_large']);
  },
);

test('a small body that unpacks to a large one is refused', async () => {
  const bomb = new Uint8Array(gzipSync(Buffer.alloc(64 * 1_048_576, 0x20)));
  const headers = { ...json, 'content-encoding': 'gzip' };
  const { status, body } = await client.json(`/v2/models/${model}/infer`, { body: bomb, headers });
  expect([status, body.code]).toEqual([413, 'body_too_large']);
});

test('JSON that is 100,000 arrays deep is refused and the next call answered', async () => {
  const deep = '['.repeat(100_000) + ']'.repeat(100_000);
  for (const path of ['/v1/embeddings', '/v1/chat/completions', '/infer', `/v2/models/${model}/infer`]) {
    const { status, body } = await client.json(path, { body: `{"model":"${model}","input":${deep}}`, headers: json });
    expect(status).toBe(400);
    expect(JSON.stringify(body)).toContain('nested at most 64 levels');
  }
  expect((await client.embed('still here'))[0]).toHaveLength(384);
});

test('an unknown address is a 404 in the words of its neighbourhood', async () => {
  const openAi = await client.json('/v1/nothing');
  expect([openAi.status, openAi.body.error.code]).toEqual([404, 'route_not_found']);
  const openInference = await client.json('/v2/nothing');
  expect([openInference.status, openInference.body.code, typeof openInference.body.error]).toEqual([
    404,
    'route_not_found',
    'string',
  ]);
  const problem = await client.json('/nothing');
  expect(problem.headers.get('content-type')).toContain('application/problem+json');
  expect(problem.body).toMatchObject({
    status: 404,
    code: 'route_not_found',
    trace_id: problem.headers.get('x-trace-id'),
  });
});

test.each([
  ['GET', '/v1/embeddings', 'POST'],
  ['DELETE', '/v1/models', 'GET'],
  ['PUT', '/infer', 'POST'],
  ['PATCH', '/metrics', 'GET'],
  ['GET', `/v2/models/${model}/infer`, 'POST'],
])('%s %s is a 405 that names what the address takes', async (method, path, allowed) => {
  const { status, headers, body } = await client.json(path, { method });
  expect([status, headers.get('allow'), code(body)]).toEqual([405, allowed, 'method_not_allowed']);
});

test('a page of any origin may call, and may read what the headers tell', async () => {
  const origin = 'https://page.example';
  const preflight = await client.call('/v1/embeddings', {
    method: 'OPTIONS',
    key: null,
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    },
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get('access-control-allow-origin')).toBe('*');
  expect(preflight.headers.get('access-control-allow-headers')).toContain('authorization');
  const answer = await client.call('/v1/models', { headers: { origin } });
  await answer.body?.cancel();
  expect(answer.headers.get('access-control-allow-origin')).toBe('*');
  expect(answer.headers.get('access-control-expose-headers')?.toLowerCase()).toContain('cache-status');
  expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
});

test('HEAD is GET without its body', async () => {
  const response = await client.call('/v1/models', { method: 'HEAD' });
  expect(response.status).toBe(200);
  expect(await response.text()).toBe('');
});

test('the front page and the OpenAPI document need no key', async () => {
  const front = await client.json('/', { key: null });
  expect(front.body).toMatchObject({ name: 'treeline' });
  const { status, body } = await client.json('/openapi.json', { key: null });
  expect([status, body.openapi]).toEqual([200, '3.1.0']);
  expect(Object.keys(body.paths)).toEqual(
    expect.arrayContaining([
      '/v1/embeddings',
      '/v1/chat/completions',
      '/v2/models/{model}/infer',
      '/infer',
      '/metrics',
    ]),
  );
});

test('every answer names its trace, also one that failed', async () => {
  for (const path of ['/v1/models', '/nothing', '/v2/models/none', '/v1/models/none']) {
    const response = await client.call(path);
    await response.body?.cancel();
    expect(response.headers.get('x-trace-id')).toMatch(/^[0-9a-f]{32}$/);
  }
});

test('a header that is full of text does no harm', async () => {
  const headers = {
    traceparent: 'x'.repeat(4_000),
    'cache-control': 'max-age='.repeat(300),
    'x-request-id': 'y'.repeat(4_000),
  };
  expect((await client.call('/v1/models', { headers })).status).toBe(200);
});

test('an answer names the request: as the client did, or by its trace', async () => {
  const named = await client.call('/v1/models', { headers: { 'x-request-id': 'order-17/attempt.2' } });
  expect(named.headers.get('x-request-id')).toBe('order-17/attempt.2');
  const unnamed = await client.call('/v1/models');
  expect(unnamed.headers.get('x-request-id')).toBe(unnamed.headers.get('x-trace-id'));
  const unusable = await client.call('/v1/models', { headers: { 'x-request-id': 'a "b"' } });
  expect(unusable.headers.get('x-request-id')).toBe(unusable.headers.get('x-trace-id'));
});

test('every answer tells browsers to guess, frame and load nothing', async () => {
  for (const path of ['/', '/docs', '/v1/nothing', '/v1/models']) {
    const { headers } = await client.call(path);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('referrer-policy')).toBe('no-referrer');
  }
});

test('the reference page names every operation of the OpenAPI document, and needs no key', async () => {
  const anyone = new EdgeClient(runningEdge().url, null);
  const { paths } = (await anyone.json('/openapi.json')).body;
  const page = await (await anyone.call('/docs')).text();
  expect(Object.keys(paths).length).toBeGreaterThan(15);
  for (const path of Object.keys(paths)) expect(page).toContain(path);
});
