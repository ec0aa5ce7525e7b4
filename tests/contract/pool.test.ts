/** The pool's client inside the host: calls of each kind to a node of the test's own, which speaks the real protocol. */
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../infra/local/ports.ts';
import { chatModel, described, saying, startNode, type TestNode } from '../support/pool-node.ts';
import { edge, runningEdge } from './edge.ts';

const client = edge();
const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const nodes: TestNode[] = [];
/** Ends with the generation that runs at a node. */
let ended = Promise.withResolvers<void>();

const failures: Record<string, ConnectError> = {
  full: new ConnectError('The queue is full.', Code.ResourceExhausted, { 'retry-after': '3' }),
  wrong: new ConnectError('The schema is not one.', Code.InvalidArgument),
  broken: new ConnectError('secret of the node', Code.Internal),
};

async function* generate({ messages: [first] }: { messages: { content: string }[] }, signal: AbortSignal) {
  const failure = failures[first?.content ?? ''];
  if (failure !== undefined) throw failure;
  if (first?.content !== 'endless') return yield* saying('Hello', ' there');
  signal.addEventListener('abort', () => ended.resolve());
  for (let token = 0; !signal.aborted; token += 1) {
    yield { text: 'more ', ids: [token] };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

beforeAll(async () => {
  const { poolPort } = runningEdge();
  const otherPort = await freePort();
  const listNodes = () => ({
    nodes: [poolPort, otherPort].map((port) => described(`contract-${port}`, `http://127.0.0.1:${port}`)),
  });
  for (const port of [poolPort, otherPort]) {
    const behaviour = {
      node: { listNodes },
      inference: {
        generate: (request: Parameters<typeof generate>[0], { signal }: { signal: AbortSignal }) =>
          generate(request, signal),
      },
      ipc: {
        call: ({ operation, data }: { operation: string; data: Uint8Array }) => ({ operation, data, transport: 'shm' }),
      },
    };
    nodes.push(await startNode(behaviour, port));
  }
  // The edge does not ask a pool again at once that was away.
  const giveUpAt = performance.now() + 20_000;
  const isListed = async () => JSON.stringify((await client.json('/v1/models')).body).includes(chatModel.name);
  while (!(await isListed()) && performance.now() < giveUpAt) await new Promise((resolve) => setTimeout(resolve, 200));
});
afterAll(() => Promise.all(nodes.map((node) => node.close())));

const ask = (content: string, more: object = {}, signal?: AbortSignal) =>
  client.call('/v1/chat/completions', {
    body: { model: chatModel.name, messages: [{ role: 'user', content }], ...more },
    headers: { traceparent },
    ...(signal === undefined ? {} : { signal }),
  });

test('the pool’s models are listed as its own', async () => {
  const { body } = await client.json('/v1/models');
  expect(body.data).toContainEqual(expect.objectContaining({ id: chatModel.name, owned_by: 'pool' }));
});

test('a whole answer is OpenAI’s, and the node sees the trace, never the tenant’s key', async () => {
  const response = await ask('hello');
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({
    object: 'chat.completion',
    choices: [{ message: { role: 'assistant', content: 'Hello there' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 11, completion_tokens: 2 },
  });
  const seen = nodes.flatMap((node) => node.seen).filter(({ path }) => path.endsWith('/Generate'));
  expect(seen.at(-1)?.headers.traceparent).toMatch(/^00-4bf92f3577b34da6a3ce929d0e0e4736-(?!00f067aa0ba902b7)/);
  expect(JSON.stringify(seen)).not.toMatch(/tl_/);
});

test('a stream comes as it is made, and ends at the node when the client goes away', async () => {
  ended = Promise.withResolvers();
  const leaving = new AbortController();
  const response = await ask('endless', { stream: true }, leaving.signal);
  const reader = response.body?.getReader();
  let text = '';
  while (!text.includes('more ')) text += new TextDecoder().decode((await reader?.read())?.value);
  leaving.abort();
  const late = new Promise((resolve) => setTimeout(resolve, 10_000, 'still generating after 10 s'));
  expect(await Promise.race([ended.promise, late])).toBeUndefined();
});

test.each([
  ['full', 429, 'overloaded'],
  ['wrong', 400, 'invalid_request'],
  ['broken', 502, 'upstream_failed'],
])('a node that is %s is a %i in OpenAI’s words, streamed or not', async (content, status, code) => {
  for (const stream of [true, false]) {
    const response = await ask(content, { stream });
    const body = await response.text();
    expect([response.status, JSON.parse(body).error.code]).toEqual([status, code]);
    expect(body).not.toContain('secret of the node');
  }
});

test('the boundary to the engine is called through the edge', async () => {
  const { status, body } = await client.json('/api/v1/ipc/call', { body: { operation: 'echo', data: 'test' } });
  expect([status, body]).toEqual([
    200,
    { operation: 'echo', data: 'test', transport: 'shm', bytes_copied: 0, elapsed_ns: 0 },
  ]);
});

test('a node that is gone costs no call', async () => {
  await nodes[1]?.close();
  for (let call = 0; call < 6; call += 1) {
    const response = await ask(`question ${call}`);
    expect([response.status, (await response.text()).includes('Hello there')]).toEqual([200, true]);
  }
});
