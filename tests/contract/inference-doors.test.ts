import { expect, test } from 'vitest';
import { edge, model } from './edge.ts';

const client = edge();
const source = 'How do I reset my password?';
const documents = [
  'Our offices are closed on public holidays.',
  'To choose a new password, open Settings and select Security.',
  'The train to Hamburg leaves at nine.',
];

test('/v1/models lists the models of the isolate and those of the upstream, each also by its own address', async () => {
  const { body } = await client.json('/v1/models');
  const ids = body.data.map(({ id }: { id: string }) => id);
  expect(body.object).toBe('list');
  expect(ids).toEqual(expect.arrayContaining([model, 'treeline-static-v1', 'test-chat', 'test-other']));
  for (const id of ids) {
    const one = await client.json(`/v1/models/${encodeURIComponent(id)}`);
    expect([one.status, one.body.id, one.body.object]).toEqual([200, id, 'model']);
  }
  expect((await client.json('/v1/models/none')).body.error.code).toBe('model_not_found');
});

test('/v1/similarity scores each text, the nearest in meaning highest', async () => {
  const { status, body } = await client.json('/v1/similarity', { body: { source, texts: [...documents, source] } });
  expect(status).toBe(200);
  const scores = body.data.map(({ score }: { score: number }) => score);
  expect(scores).toHaveLength(4);
  expect(scores[3]).toBeCloseTo(1, 3);
  expect(scores[1]).toBeGreaterThan(Math.max(scores[0], scores[2]) + 0.2);
  for (const score of scores) expect(Math.abs(score)).toBeLessThanOrEqual(1);
});

test('/v1/rerank puts the answer first, and gives documents only when asked', async () => {
  const { body } = await client.json('/v1/rerank', { body: { query: source, documents } });
  expect(body.results.map(({ index }: { index: number }) => index)[0]).toBe(1);
  expect(body.results).toHaveLength(3);
  expect(body.results[0]).not.toHaveProperty('document');
  const scores = body.results.map(({ relevance_score }: { relevance_score: number }) => relevance_score);
  expect(scores).toEqual(scores.toSorted((a: number, b: number) => b - a));
  const objects = documents.map((text) => ({ text }));
  const best = await client.json('/v1/rerank', {
    body: { query: source, documents: objects, top_n: 1, return_documents: true },
  });
  expect(best.body.results).toMatchObject([{ index: 1, document: { text: documents[1] } }]);
});

test.each([
  ['/v1/similarity', { source: 'a', texts: [] }],
  ['/v1/similarity', { source: '', texts: ['a'] }],
  ['/v1/similarity', { texts: ['a'] }],
  ['/v1/rerank', { query: 'a', documents: [] }],
  ['/v1/rerank', { query: 'a', documents: [{ body: 'a' }] }],
  ['/v1/rerank', { query: 'a', documents: ['a'], top_n: 0 }],
  ['/v1/rerank', { query: 'a', documents: [''] }],
])('%s refuses %j', async (path, body) => {
  const answer = await client.json(path, { body });
  expect([answer.status, answer.body.error.code]).toEqual([400, 'invalid_request']);
});

test('/infer with the model "test" embeds one text or several', async () => {
  const one = await client.json('/infer', { body: { model_id: 'test', input: { text: 'hello' } } });
  expect(one.status).toBe(200);
  expect(one.body).toMatchObject({
    model_id: model,
    output: { dimensions: 384 },
    usage: { input_tokens: 3, truncated_inputs: [] },
  });
  expect(one.body.output.embeddings).toHaveLength(1);
  const two = await client.json('/infer', { body: { model_id: 'test', input: { text: ['hello', 'world'] } } });
  expect(two.body.output.embeddings).toHaveLength(2);
  expect(two.body.output.embeddings[0]).toHaveLength(384);
});

test.each([
  [{ model_id: 'none', input: { text: 'a' } }, 404, 'model_not_found'],
  [{ model_id: 'test', input: { text: '' } }, 400, 'invalid_request'],
  [{ model_id: 'test', input: {} }, 400, 'invalid_request'],
  [{ input: { text: 'a' } }, 400, 'invalid_request'],
])('/infer refuses %j as a problem of RFC 9457', async (body, status, code) => {
  const answer = await client.json('/infer', { body });
  expect(answer.headers.get('content-type')).toContain('application/problem+json');
  expect(answer.body).toMatchObject({ status, code, type: `urn:treeline:failure:${code}`, instance: '/infer' });
  expect(answer.status).toBe(status);
});
