/** The worker inside its real runtime, without a database and a store: what must work there does so by itself. */
import { SELF } from 'cloudflare:test';
import { expect, test } from 'vitest';

const origin = 'https://edge.test';

async function call(path: string, body?: unknown): Promise<{ status: number; headers: Headers; body: unknown }> {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await SELF.fetch(origin + path, body === undefined ? {} : init);
  return { status: response.status, headers: response.headers, body: await response.json() };
}

test('this is workerd', () => {
  expect(navigator.userAgent).toBe('Cloudflare-Workers');
});

test('the static model answers from the bundle, by Rust, and the cache’s index by Go', async () => {
  const request = { model: 'treeline-static-v1', input: ['a cat sleeps', 'a kitten naps'] };
  const first = await call('/v1/embeddings', request);
  expect(first.status).toBe(200);
  expect(first.body).toMatchObject({ object: 'list', model: 'treeline-static-v1', data: [{ index: 0 }, { index: 1 }] });
  expect(first.headers.get('cache-status')).toBe('Treeline; fwd=uri-miss; stored');
  const second = await call('/v1/embeddings', request);
  expect(second.headers.get('cache-status')).toMatch(/^Treeline; hit; .*detail=isolate$/);
  expect(second.body).toEqual(first.body);
});

test('the router of Go answers: without an upstream the way out is named', async () => {
  const { status, body } = await call('/v1/chat/completions', {
    model: 'any',
    messages: [{ role: 'user', content: 'a' }],
  });
  expect([status, body]).toMatchObject([503, { error: { code: 'upstream_not_configured' } }]);
});

test('without a database a key is a 503 and not an answer', async () => {
  const response = await SELF.fetch(`${origin}/v1/models`, {
    headers: { authorization: `Bearer tl_${'0'.repeat(48)}` },
  });
  expect([response.status, await response.json()]).toMatchObject([503, { error: { code: 'database_unavailable' } }]);
});

test('background work of one request does not hold up the next', async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => call('/v1/models')));
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
});
