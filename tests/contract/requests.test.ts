import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { edge, model } from './edge.ts';

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
    const { status } = await client.json(path, { body: `{"model":"${model}","input":${deep}}` });
    expect(status).toBe(400);
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
