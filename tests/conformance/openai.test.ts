/** OpenAI's own client for Node. */
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cosine, model, runningEdge } from '../contract/edge.ts';
import { startChatUpstream } from '../support/chat-upstream.ts';
import type { TestServer } from '../support/http-server.ts';

const { url, key, upstreamPort } = runningEdge();
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
let upstream: TestServer;

beforeAll(async () => {
  upstream = await startChatUpstream(upstreamPort);
});
afterAll(() => upstream.close());

test('embeddings: the client asks for base64 by itself and gives numbers', async () => {
  const { data, usage, model: named } = await client.embeddings.create({ model, input: ['hello world', 'grüße 🌲'] });
  expect([named, data.length, usage.prompt_tokens]).toEqual([model, 2, expect.any(Number)]);
  const floats = await client.embeddings.create({ model, input: 'hello world', encoding_format: 'float' });
  const [first = { embedding: [] }] = data;
  expect(first.embedding).toHaveLength(384);
  expect(first.embedding[0]).toBeCloseTo(-0.03448, 1);
  expect(cosine(first.embedding, floats.data[0]?.embedding ?? [])).toBeGreaterThan(0.99999);
});

test('embeddings: token ids and dimensions', async () => {
  const input = [
    [101, 7592, 2088, 102],
    [101, 2651, 102],
  ];
  const { data } = await client.embeddings.create({ model, input, dimensions: 16 });
  expect(data.map(({ embedding }) => embedding.length)).toEqual([16, 16]);
});

test('models: listed and retrieved', async () => {
  const ids: string[] = [];
  for await (const { id } of client.models.list()) ids.push(id);
  expect(ids).toContain(model);
  expect((await client.models.retrieve(model)).owned_by).toBe('treeline');
});

test('chat: a whole answer', async () => {
  const completion = await client.chat.completions.create({
    model: 'test-chat',
    messages: [{ role: 'user', content: 'grüße 🌲' }],
  });
  expect(completion.choices[0]?.message.content).toBe('echo: grüße 🌲');
  expect(completion.usage?.total_tokens).toBeGreaterThan(0);
});

test('chat: a stream, piece by piece', async () => {
  const stream = await client.chat.completions.create({
    model: 'test-chat',
    messages: [{ role: 'user', content: 'one two three' }],
    stream: true,
    stream_options: { include_usage: true },
  });
  const pieces: string[] = [];
  let tokens = 0;
  for await (const { choices, usage } of stream) {
    const content = choices[0]?.delta.content;
    if (typeof content === 'string') pieces.push(content);
    tokens = usage?.total_tokens ?? tokens;
  }
  expect(pieces.join('')).toBe('echo: one two three');
  expect(pieces.length).toBeGreaterThan(2);
  expect(tokens).toBeGreaterThan(0);
});

test('failures become the client’s own exceptions, with code and parameter', async () => {
  const wrong = new OpenAI({ baseURL: `${url}/v1`, apiKey: `tl_${'0'.repeat(48)}`, maxRetries: 0 });
  await expect(wrong.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  const unknown = client.embeddings.create({ model: 'none', input: 'a' });
  await expect(unknown).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  const empty = client.embeddings.create({ model, input: '' });
  await expect(empty).rejects.toBeInstanceOf(OpenAI.BadRequestError);
  await expect(empty).rejects.toMatchObject({ code: 'invalid_request', param: 'input.0', status: 400 });
});
