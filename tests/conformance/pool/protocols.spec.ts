/** gRPC-Web and Connect: by the clients of Connect's makers, and by `fetch` alone. */
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-web';
import { describe, expect, test } from 'vitest';
import { InferenceService, ModelService } from '../../../functions/pool-client/gen/services_pb.js';
import { chatModel, embedder, helloWorld, poolUrl } from './pool.ts';

const transports = {
  'gRPC-Web': createGrpcWebTransport({ baseUrl: poolUrl() }),
  'Connect, binary': createConnectTransport({ baseUrl: poolUrl(), useBinaryFormat: true }),
  'Connect, JSON': createConnectTransport({ baseUrl: poolUrl(), useBinaryFormat: false }),
};

describe.each(Object.entries(transports))('%s', (_name, transport) => {
  const client = createClient(InferenceService, transport);

  test('a call with one answer', async () => {
    const { dimensions, vectors } = await client.embed({ model: embedder, texts: ['hello world'] });
    const numbers = new Float32Array(vectors.slice().buffer);
    expect([dimensions, numbers.length]).toEqual([384, 384]);
    for (const [index, number] of helloWorld.entries()) expect(numbers[index]).toBeCloseTo(number, 1);
  });

  test('a call with a stream of answers', async () => {
    const texts: string[] = [];
    let tokens = 0;
    for await (const piece of client.generate({ model: chatModel, prompt: 'Once upon a time', maxTokens: 8 })) {
      if (piece.text !== '') texts.push(piece.text);
      tokens = piece.usage?.completionTokens ?? tokens;
    }
    expect(tokens).toBe(8);
    expect(texts.length).toBeGreaterThan(2);
  });

  test('a failure has its code', async () => {
    const thrown: unknown = await client.embed({ model: 'none', texts: ['a'] }).catch((error: unknown) => error);
    expect(ConnectError.from(thrown).code).toBe(Code.NotFound);
  });

  test('a deadline ends the call', async () => {
    const call = async () => {
      const request = { model: chatModel, prompt: 'Once', maxTokens: 2_000, ignoreEos: true };
      for await (const _ of client.generate(request, { timeoutMs: 200 }));
    };
    const thrown: unknown = await call().catch((error: unknown) => error);
    expect(ConnectError.from(thrown).code).toBe(Code.DeadlineExceeded);
  });

  test('models', async () => {
    const { models } = await createClient(ModelService, transport).listModels({});
    expect(models.map(({ name }) => name)).toEqual(expect.arrayContaining([embedder, chatModel]));
  });
});

/** Cuts a body into its frames: a byte of flags, a length of four bytes, and the payload. */
function framesOf(body: Uint8Array): { flags: number; text: string }[] {
  const frames: { flags: number; text: string }[] = [];
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  for (let position = 0; position < body.length; ) {
    const length = view.getUint32(position + 1);
    const payload = body.subarray(position + 5, position + 5 + length);
    frames.push({ flags: view.getUint8(position), text: new TextDecoder().decode(payload) });
    position += 5 + length;
  }
  return frames;
}

function frame(text: string): Uint8Array<ArrayBuffer> {
  const payload = new TextEncoder().encode(text);
  const framed = new Uint8Array(5 + payload.length);
  new DataView(framed.buffer).setUint32(1, payload.length);
  framed.set(payload, 5);
  return framed;
}

const generate = `${poolUrl()}/treeline.v1.InferenceService/Generate`;
const prompt = JSON.stringify({ model: chatModel, prompt: 'Once upon a time', maxTokens: 4 });

test('Connect by fetch alone: JSON in, JSON out', async () => {
  const post = (body: unknown) =>
    fetch(`${poolUrl()}/treeline.v1.InferenceService/Embed`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  expect(await (await post({ model: embedder, texts: ['a'] })).json()).toMatchObject({ dimensions: 384 });
  const refused = await post({ model: 'none', texts: ['a'] });
  expect([refused.status, await refused.json()]).toEqual([404, expect.objectContaining({ code: 'not_found' })]);
});

test('Connect by fetch alone: a stream of JSON', async () => {
  const headers = { 'content-type': 'application/connect+json' };
  const response = await fetch(generate, { method: 'POST', headers, body: frame(prompt) });
  const frames = framesOf(new Uint8Array(await response.arrayBuffer()));
  const last = frames.at(-1);
  expect([last?.flags, JSON.parse(last?.text ?? '')]).toEqual([2, {}]);
  expect(JSON.parse(frames.at(-2)?.text ?? '')).toMatchObject({ usage: { completionTokens: 4 } });
});

test('gRPC-Web by fetch alone: frames, and trailers in the body', async () => {
  const headers = { 'content-type': 'application/grpc-web+json', 'x-grpc-web': '1' };
  const response = await fetch(generate, { method: 'POST', headers, body: frame(prompt) });
  const frames = framesOf(new Uint8Array(await response.arrayBuffer()));
  expect(frames.at(-1)?.flags).toBe(128);
  expect(frames.at(-1)?.text.toLowerCase()).toContain('grpc-status: 0');
  expect(frames.length).toBeGreaterThan(3);
});

test('POST /infer word for word as the edge has it', async () => {
  const body = '{"model_id":"test","input":{"text":"hello"}}';
  const response = await fetch(`${poolUrl()}/infer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  expect(await response.json()).toEqual({
    model_id: embedder,
    output: { dimensions: 384, embeddings: [expect.any(Array)] },
    usage: { input_tokens: 3, truncated_inputs: [] },
  });
});

test('rerank puts the best answer first', async () => {
  const response = await fetch(`${poolUrl()}/v1/rerank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: embedder,
      query: 'How do I reset my password?',
      documents: ['The weather is fine today.', 'To change a forgotten password, open the settings.', 'Stocks fell.'],
      top_n: 2,
      return_documents: true,
    }),
  });
  const { results } = (await response.json()) as { results: { index: number; document: { text: string } }[] };
  expect(results).toHaveLength(2);
  expect(results[0]).toMatchObject({ index: 1, document: { text: expect.stringContaining('password') } });
});
