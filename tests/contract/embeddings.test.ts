import { expect, test } from 'vitest';
import { cosine, edge, freshText, model } from './edge.ts';

const client = edge();
/** "hello world" in the vocabulary of the model, with its first and last token. */
const helloWorld = [101, 7592, 2088, 102];

const vectorOf = (embedding: string): number[] => {
  const bytes = Uint8Array.from(Buffer.from(embedding, 'base64'));
  return Array.from(new Float32Array(bytes.buffer));
};

test('hello world gives the vector of all-MiniLM-L6-v2', async () => {
  const { status, body } = await client.json('/v1/embeddings', { body: { model, input: 'hello world' } });
  expect(status).toBe(200);
  expect(body).toMatchObject({
    object: 'list',
    model,
    data: [{ object: 'embedding', index: 0 }],
    usage: { prompt_tokens: 4, total_tokens: 4 },
  });
  const [{ embedding }] = body.data;
  expect(embedding).toHaveLength(384);
  expect(Math.hypot(...embedding)).toBeCloseTo(1, 4);
  [-0.03448, 0.03102, 0.00673, 0.02611].forEach((expected, at) => {
    expect(Math.abs(embedding[at] - expected)).toBeLessThan(0.01);
  });
});

test('an array answers in its own order, each as if it were alone', async () => {
  const texts = ['A cat sits on the mat.', 'Stocks fell on Monday.', 'Eine Katze.', '日本語のテキスト', '🌲🌳 trees'];
  const { body } = await client.json('/v1/embeddings', { body: { model, input: texts } });
  expect(body.data.map(({ index }: { index: number }) => index)).toEqual([0, 1, 2, 3, 4]);
  for (const [at, text] of texts.entries()) {
    const [alone] = await client.embed(text);
    expect(cosine(body.data[at].embedding, alone ?? [])).toBeGreaterThan(0.999);
  }
});

test('token ids of a text are the text', async () => {
  const [byText] = await client.embed('hello world');
  const { body } = await client.json('/v1/embeddings', { body: { model, input: helloWorld } });
  expect(body.usage.prompt_tokens).toBe(4);
  expect(cosine(body.data[0].embedding, byText ?? [])).toBeGreaterThan(0.999);
  const several = await client.embed([helloWorld, helloWorld.toReversed()]);
  expect(cosine(several[0] ?? [], byText ?? [])).toBeGreaterThan(0.999);
  expect(cosine(several[1] ?? [], byText ?? [])).toBeLessThan(0.999);
});

test('fewer dimensions: the first numbers, of length 1 again', async () => {
  const [whole = []] = await client.embed('hello world');
  const [short = []] = await client.embed('hello world', { dimensions: 64 });
  expect(short).toHaveLength(64);
  expect(Math.hypot(...short)).toBeCloseTo(1, 4);
  expect(cosine(short, whole.slice(0, 64))).toBeGreaterThan(0.9999);
});

test('base64 holds the same numbers as the list', async () => {
  const body = { model, input: 'hello world', encoding_format: 'base64' };
  const answer = await client.json('/v1/embeddings', { body });
  const [floats = []] = await client.embed('hello world');
  expect(vectorOf(answer.body.data[0].embedding)).toEqual(floats);
});

test('the static model answers too, in its own dimensions', async () => {
  const { body } = await client.json('/v1/embeddings', {
    body: { model: 'treeline-static-v1', input: ['a cat sleeps', 'a kitten naps', 'the stock market fell'] },
  });
  const [cat, kitten, market] = body.data.map(({ embedding }: { embedding: number[] }) => embedding);
  const metadata = await client.json('/v2/models/treeline-static-v1');
  expect(cat).toHaveLength(metadata.body.outputs[0].shape[1]);
  expect(cat.length).toBeGreaterThanOrEqual(64);
  expect(cosine(cat, kitten)).toBeGreaterThan(cosine(cat, market));
});

test('a text over 256 tokens is cut, and usage says which', async () => {
  const long = 'word '.repeat(400);
  const { body } = await client.json('/v1/embeddings', { body: { model, input: ['short', long] } });
  expect(body.usage).toMatchObject({ truncated_inputs: [1] });
  expect(body.usage.prompt_tokens).toBe(3 + 256);
  const [first, second] = await client.embed([long, `${long} and more`]);
  expect(cosine(first ?? [], second ?? [])).toBeGreaterThan(0.9999);
});

test.each([
  ['combining marks', 'école'],
  ['a lone surrogate, written as an escape', '{"model":"all-minilm-l6-v2","input":"\\ud800"}'],
  ['a zero character', 'a\u0000b'],
  ['right to left', 'שלום עולם'],
  ['only an emoji of several parts', '👩‍👩‍👧‍👦'],
  ['10,000 letters without a blank', 'a'.repeat(10_000)],
])('%s gives a unit vector', async (_, text) => {
  const body = text.startsWith('{') ? text : { model, input: text };
  const answer = await client.json('/v1/embeddings', { body });
  expect(answer.status).toBe(200);
  expect(Math.hypot(...answer.body.data[0].embedding)).toBeCloseTo(1, 3);
});

test.each<[string, Record<string, unknown>, number, string | RegExp]>([
  ['an empty text', { model, input: '' }, 400, 'invalid_request'],
  ['an empty text among others', { model, input: ['a', ''] }, 400, 'invalid_request'],
  ['no input', { model, input: [] }, 400, 'invalid_request'],
  ['an input that is missing', { model }, 400, 'invalid_request'],
  ['an input of another kind', { model, input: { text: 'a' } }, 400, 'invalid_request'],
  ['texts and token ids mixed', { model, input: ['a', 1] }, 400, 'invalid_request'],
  ['an empty sequence of tokens', { model, input: [[]] }, 400, 'invalid_request'],
  ['a token outside the vocabulary', { model, input: [101, 999_999, 102] }, 400, 'invalid_request'],
  ['a negative token', { model, input: [-1] }, 400, 'invalid_request'],
  ['2,049 inputs', { model, input: Array.from({ length: 2_049 }, () => 'a') }, 400, 'invalid_request'],
  ['more dimensions than there are', { model, input: 'a', dimensions: 385 }, 400, 'invalid_request'],
  ['no dimensions', { model, input: 'a', dimensions: 0 }, 400, 'invalid_request'],
  ['another encoding', { model, input: 'a', encoding_format: 'hex' }, 400, 'invalid_request'],
  ['a model that is missing', { input: 'a' }, 400, 'invalid_request'],
  ['an unknown model', { model: 'gpt-unknown', input: 'a' }, 404, 'model_not_found'],
])('%s is refused in the words of OpenAI', async (_, body, status, code) => {
  const answer = await client.json('/v1/embeddings', { body });
  expect([answer.status, answer.body.error.code]).toEqual([status, code]);
  expect(answer.body.error).toMatchObject({ message: expect.any(String), type: expect.stringContaining('error') });
  expect(answer.body.error.trace_id).toBe(answer.headers.get('x-trace-id'));
});

test('calls at the same time do not mix', async () => {
  const texts = Array.from({ length: 12 }, () => freshText());
  const together = await Promise.all(texts.map((text) => client.embed(text)));
  for (const [at, text] of texts.entries()) {
    const [alone] = await client.embed(text, {}, { headers: { 'cache-control': 'no-cache' } });
    expect(cosine(together[at]?.[0] ?? [], alone ?? [])).toBeGreaterThan(0.9999);
  }
});
