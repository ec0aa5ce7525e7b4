import { expect, test } from 'vitest';
import { EdgeClient, edge, freshText, model, runningEdge } from './edge.ts';
import { makeKey } from './keys.ts';

const client = edge();

async function statusOf(input: string, headers: Record<string, string> = {}, by = client): Promise<string> {
  const response = await by.call('/v1/embeddings', { body: { model, input }, headers });
  await response.body?.cancel();
  expect(response.status).toBe(200);
  return response.headers.get('cache-status') ?? '';
}

test('the second call is a hit with the seconds that are left, and the same numbers', async () => {
  const text = freshText();
  const first = await client.json('/v1/embeddings', { body: { model, input: text } });
  const second = await client.json('/v1/embeddings', { body: { model, input: text } });
  expect(first.headers.get('cache-status')).toBe('Treeline; fwd=uri-miss; stored');
  expect(second.headers.get('cache-status')).toMatch(/^Treeline; hit; ttl=3(600|59\d); detail=(isolate|shared)$/);
  expect(second.body).toEqual(first.body);
});

test('the format and the dimensions of the answer are not what is cached', async () => {
  const text = freshText();
  await client.embed(text);
  const answer = await client.call('/v1/embeddings', {
    body: { model, input: text, dimensions: 8, encoding_format: 'base64' },
  });
  expect(answer.headers.get('cache-status')).toContain('hit');
  await answer.body?.cancel();
});

test('no-store neither reads nor writes', async () => {
  const text = freshText();
  expect(await statusOf(text, { 'cache-control': 'no-store' })).toBe('Treeline; fwd=request');
  expect(await statusOf(text)).toContain('fwd=uri-miss');
  expect(await statusOf(text, { 'cache-control': 'no-store' })).toBe('Treeline; fwd=request');
});

test('no-cache computes anew and stores', async () => {
  const text = freshText();
  await statusOf(text);
  expect(await statusOf(text, { 'cache-control': 'no-cache' })).toContain('fwd=');
  expect(await statusOf(text)).toContain('hit');
});

test('max-age takes an answer that is young enough only', async () => {
  const text = freshText();
  await statusOf(text);
  expect(await statusOf(text, { 'cache-control': 'max-age=60' })).toContain('hit');
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  expect(await statusOf(text, { 'cache-control': 'max-age=1' })).toContain('fwd=');
});

test('another tenant does not see that a text was asked before', async () => {
  const text = freshText();
  await statusOf(text);
  const { key } = await makeKey(runningEdge().databaseUrl);
  expect(await statusOf(text, {}, new EdgeClient(runningEdge().url, key))).toContain('fwd=uri-miss');
});

test('every door to the same model uses the cache', async () => {
  const text = freshText();
  const calls: [string, unknown][] = [
    ['/infer', { model_id: 'test', input: { text } }],
    ['/v1/embeddings', { model, input: text }],
    [`/v2/models/${model}/infer`, { inputs: [{ name: 'text', datatype: 'BYTES', shape: [1], data: [text] }] }],
  ];
  const found = [];
  for (const [path, body] of calls) {
    const response = await client.call(path, { body });
    await response.body?.cancel();
    found.push(response.headers.get('cache-status')?.includes('hit'));
  }
  expect(found).toEqual([false, true, true]);
});
