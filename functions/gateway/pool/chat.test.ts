/** Chat through the pool, from OpenAI's request to OpenAI's answer, with real nodes of a test behind it. */
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { chatModel, described, type NodeBehaviour, saying, startNode } from '../../../tests/support/pool-node.ts';
import { goModules, ManualClock, MemoryBackground, MemoryLog, seededRandom } from '../../../tests/support/ports.ts';
import { FinishReason, type GenerateRequest } from '../../pool-client/gen/services_pb.js';
import { createMetrics } from '../../telemetry/metrics.ts';
import { loadRouter } from '../../wasm/loader.ts';
import { poolChat } from './chat.ts';
import { createPool } from './create-pool.ts';
import { freshMs } from './directory.ts';

const closing: { close(): Promise<void> }[] = [];
let background: MemoryBackground;
beforeEach(() => {
  background = new MemoryBackground();
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map((server) => server.close()));
});

type Generate = NonNullable<NonNullable<NodeBehaviour['inference']>['generate']>;

/** A pool of a node for each of `behaviours`, all of them known to the first. */
async function setUp(...behaviours: Generate[]) {
  const addresses: string[] = [];
  const listNodes = () => ({ nodes: addresses.map((address, at) => described(`node-${at}`, address)) });
  const nodes = await Promise.all(
    behaviours.map((generate) => startNode({ node: { listNodes }, inference: { generate } })),
  );
  addresses.push(...nodes.map(({ url }) => url));
  closing.push(...nodes);
  const [clock, random, metrics] = [new ManualClock(), seededRandom(3), createMetrics()];
  const live = await loadRouter(goModules);
  const router = async () => live;
  const pool = createPool(addresses, { clock, random, metrics, log: new MemoryLog(), fetch, router });
  const chat = (request: object, signal = new AbortController().signal) =>
    poolChat(
      { pool, clock, random },
      {
        request: { model: chatModel.name, messages: [{ role: 'user', content: 'hello' }], ...request },
        salt: 'tenant',
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
        signal,
        background,
      },
    );
  const count = async (name: 'poolChoices' | 'upstreamCalls', label: string) =>
    (await metrics[name].get()).values.map(({ labels, value }) => [(labels as Record<string, string>)[label], value]);
  return { nodes, pool, chat, count, clock };
}

/** The events of a stream: JSON, or the word that ends it. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads what an answer claims to be, and its expectations check it.
async function eventsOf(response: Response): Promise<any[]> {
  const events = (await response.text()).split('\n\n').filter((event) => event !== '');
  return events.map((event) => {
    const data = event.replace(/^data: /, '');
    return data === '[DONE]' ? data : JSON.parse(data);
  });
}

test('a whole answer is OpenAI’s, with the tokens as the node counted them', async () => {
  const { chat, nodes } = await setUp(() => saying('Hello', ' there'));
  const { response, done } = await chat({});
  expect(await response.json()).toEqual({
    id: expect.stringMatching(/^chatcmpl-[0-9a-f]{24}$/),
    object: 'chat.completion',
    created: expect.any(Number),
    model: chatModel.name,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'Hello there', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: {
      prompt_tokens: 11,
      completion_tokens: 2,
      total_tokens: 13,
      prompt_tokens_details: { cached_tokens: 5 },
    },
  });
  expect(await done).toEqual({ inputTokens: 11, outputTokens: 2 });
  const generate = nodes[0]?.seen.find(({ path }) => path.endsWith('/Generate'));
  expect(generate?.headers.traceparent).toMatch(/^00-4bf92f3577b34da6a3ce929d0e0e4736-/);
  expect(Number(generate?.headers['connect-timeout-ms'])).toBeGreaterThan(60_000);
});

test('a stream is OpenAI’s chunks, and names its usage only to who asks', async () => {
  const { chat } = await setUp(() => saying('Hello', ' there'));
  const { response, done } = await chat({ stream: true });
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const events = await eventsOf(response);
  expect(events.at(-1)).toBe('[DONE]');
  expect(events.slice(0, -1).map(({ choices: [choice] }) => [choice.delta, choice.finish_reason])).toEqual([
    [{ role: 'assistant', content: '' }, null],
    [{ content: 'Hello' }, null],
    [{ content: ' there' }, null],
    [{}, 'stop'],
  ]);
  expect(new Set(events.slice(0, -1).map(({ id, object, model }) => `${id} ${object} ${model}`)).size).toBe(1);
  expect(JSON.stringify(events)).not.toContain('usage');
  expect(await done).toEqual({ inputTokens: 11, outputTokens: 2 });

  const asked = await eventsOf((await chat({ stream: true, stream_options: { include_usage: true } })).response);
  expect(asked.at(-2)).toMatchObject({ choices: [], usage: { prompt_tokens: 11, completion_tokens: 2 } });
  for (const event of asked.slice(0, -2)) expect(event.usage).toBeNull();
});

test('choices and log-probabilities are kept apart, with the bytes of half a character', async () => {
  const piece = new Uint8Array([0xc3]);
  const logprobs = [{ id: 7, piece, logprob: -0.5, top: [{ id: 8, piece: new Uint8Array([65]), logprob: -1 }] }];
  const { chat } = await setUp(async function* () {
    yield { index: 1, text: 'b', logprobs };
    yield { index: 0, text: 'a' };
    yield { index: 0, finishReason: FinishReason.LENGTH };
    yield { index: 1, finishReason: FinishReason.STOP };
  });
  const body = (await (await chat({ n: 2, logprobs: true, top_logprobs: 1 })).response.json()) as { choices: object[] };
  expect(body.choices).toMatchObject([
    { index: 0, message: { content: 'a' }, finish_reason: 'length', logprobs: null },
    {
      index: 1,
      message: { content: 'b' },
      logprobs: {
        content: [{ token: '\ufffd', bytes: [0xc3], logprob: -0.5, top_logprobs: [{ token: 'A', bytes: [65] }] }],
      },
    },
  ]);
});

/** An answer that says a word and then calls twice, the second call in pieces. */
async function* calling(index = 0, text = '') {
  const second = { index: 1, id: 'call_b', name: 'g', arguments: '{"x":' };
  yield { index, text, ids: [1], toolCalls: [{ index: 0, id: 'call_a', name: 'f', arguments: '{}' }] };
  yield { index, ids: [2], toolCalls: [second] };
  yield { index, ids: [3], toolCalls: [{ index: 1, arguments: '1}' }], finishReason: FinishReason.TOOL_CALLS };
}

const calls = [
  { id: 'call_a', type: 'function', function: { name: 'f', arguments: '{}' } },
  { id: 'call_b', type: 'function', function: { name: 'g', arguments: '{"x":1}' } },
];

test('calls of tools are put together, and content is null where nothing else is said', async () => {
  const { chat } = await setUp(async function* () {
    yield* calling(0);
    yield* calling(1, 'Well.');
  });
  const body = (await (await chat({ n: 2 })).response.json()) as { choices: object[] };
  expect(body.choices).toEqual([
    {
      index: 0,
      message: { role: 'assistant', content: null, refusal: null, tool_calls: calls },
      logprobs: null,
      finish_reason: 'tool_calls',
    },
    {
      index: 1,
      message: { role: 'assistant', content: 'Well.', refusal: null, tool_calls: calls },
      logprobs: null,
      finish_reason: 'tool_calls',
    },
  ]);
});

test('calls of tools stream as pieces, their end in an event of its own', async () => {
  const { chat } = await setUp(() => calling());
  const events = await eventsOf((await chat({ stream: true })).response);
  expect(events.slice(0, -1).map(({ choices: [choice] }) => [choice.delta, choice.finish_reason])).toEqual([
    [{ role: 'assistant', content: '' }, null],
    [{ tool_calls: [{ index: 0, ...calls[0] }] }, null],
    [{ tool_calls: [{ index: 1, ...calls[1], function: { name: 'g', arguments: '{"x":' } }] }, null],
    [{ tool_calls: [{ index: 1, function: { arguments: '1}' } }] }, null],
    [{}, 'tool_calls'],
  ]);
});

test('the node gets what was asked, under the tenant’s salt', async () => {
  let got: GenerateRequest | undefined;
  const { chat } = await setUp((request) => {
    got = request;
    return saying('a');
  });
  await chat({ temperature: 0, max_tokens: 5, stop: ['END'], response_format: { type: 'json_object' } });
  expect(got).toMatchObject({
    model: chatModel.name,
    messages: [{ role: 'user', content: 'hello' }],
    sampling: { temperature: 0 },
    maxTokens: 5,
    stop: ['END'],
    jsonSchema: '{"type":"object"}',
    n: 1,
    cacheSalt: 'tenant',
  });
});

test('turns of one conversation meet at one node; different conversations spread', async () => {
  const { chat, nodes, count } = await setUp(
    () => saying('a'),
    () => saying('b'),
    () => saying('c'),
  );
  const calls = () => nodes.map(({ seen }) => seen.filter(({ path }) => path.endsWith('/Generate')).length);
  for (let turn = 0; turn < 6; turn += 1) {
    await chat({
      messages: [
        { role: 'user', content: 'same' },
        { role: 'assistant', content: `${turn}` },
      ],
    });
  }
  expect(calls().toSorted()).toEqual([0, 0, 6]);
  expect(await count('poolChoices', 'reason')).toEqual([['prefix', 6]]);
  for (let other = 0; other < 30; other += 1) await chat({ messages: [{ role: 'user', content: `other ${other}` }] });
  for (const made of calls()) expect(made).toBeGreaterThan(2);
});

test.each<[string, ConnectError]>([
  ['is away', new ConnectError('draining', Code.Unavailable)],
  ['is full', new ConnectError('the queue is full', Code.ResourceExhausted)],
  ['has just unloaded the model', new ConnectError('no such model', Code.NotFound)],
])('a call whose node %s goes to another one, before its answer has begun', async (_, error) => {
  let refused = 0;
  const refuse: Generate = () => {
    refused += 1;
    throw error;
  };
  const { chat, count } = await setUp(refuse, refuse, () => saying('from the third'));
  for (let call = 0; call < 8; call += 1) {
    const { response } = await chat({ stream: true, messages: [{ role: 'user', content: `${call}` }] });
    expect(await response.text()).toContain('from the third');
  }
  expect(refused).toBeGreaterThan(0);
  expect(await count('poolChoices', 'reason')).toContainEqual(['failover', refused]);
});

test('a node whose process is gone costs no call', async () => {
  const { chat, nodes } = await setUp(
    () => saying('gone'),
    () => saying('there'),
  );
  await chat({});
  await nodes[0]?.close();
  for (let call = 0; call < 10; call += 1) {
    const { response } = await chat({ messages: [{ role: 'user', content: `${call}` }] });
    expect(await response.text()).toContain('there');
  }
});

test.each<[Code, number, string]>([
  [Code.ResourceExhausted, 429, 'overloaded'],
  [Code.Unavailable, 503, 'pool_unavailable'],
  [Code.InvalidArgument, 400, 'invalid_request'],
  [Code.Internal, 502, 'upstream_failed'],
])(
  'a failure with code %i before the first token has its own status, also for a stream',
  async (code, status, name) => {
    const { chat } = await setUp(() => {
      throw new ConnectError('told by the node', code, { 'retry-after': '1' });
    });
    for (const stream of [true, false]) await expect(chat({ stream })).rejects.toMatchObject({ status, code: name });
  },
);

test('a failure in the middle of a stream is an event, and the stream ends without [DONE]', async () => {
  const { chat } = await setUp(async function* () {
    yield { text: 'Hel', ids: [1] };
    throw new ConnectError('out of memory', Code.Internal);
  });
  const { response, done } = await chat({ stream: true });
  const events = await eventsOf(response);
  expect(events.at(-1)).toMatchObject({ error: { code: 'upstream_failed', type: 'server_error' } });
  expect(JSON.stringify(events)).not.toContain('out of memory');
  expect(await done).toEqual({ inputTokens: 0, outputTokens: 1 });
  await expect(chat({})).rejects.toMatchObject({ status: 502 });
});

test.each<[FinishReason, number]>([
  [FinishReason.DEADLINE, 504],
  [FinishReason.CANCELLED, 502],
])('an answer that was cut off from outside (%i) is a failure, not a short answer', async (finishReason, status) => {
  const { chat } = await setUp(async function* () {
    yield { text: 'Hel' };
    yield { finishReason };
  });
  await expect(chat({})).rejects.toMatchObject({ status });
  const events = await eventsOf((await chat({ stream: true })).response);
  expect(events.at(-1)).toHaveProperty('error');
});

test.each(['that stops reading', 'whose connection ends'])(
  'a client %s ends the generation at the node',
  async (how) => {
    const ended = Promise.withResolvers<void>();
    const { chat, count } = await setUp(async function* (_, { signal }) {
      signal.addEventListener('abort', () => ended.resolve());
      for (let token = 0; !signal.aborted; token += 1) {
        yield { text: 'a', ids: [token] };
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });
    const client = new AbortController();
    const { response, done } = await chat({ stream: true }, client.signal);
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.read();
    if (how === 'that stops reading') await reader?.cancel();
    else client.abort();
    const late = new Promise((_, reject) => setTimeout(reject, 5_000, new Error('the node was not told')));
    await Promise.race([ended.promise, late]);
    while (how !== 'that stops reading' && (await reader?.read())?.done === false);
    expect((await done).outputTokens).toBeGreaterThan(0);
    expect(await count('upstreamCalls', 'result')).toEqual([['ok', 1]]);
  },
);

test('a model is the pool’s while a node has it, and its models are listed once', async () => {
  const { pool, nodes, clock } = await setUp(
    () => saying('a'),
    () => saying('b'),
  );
  expect(await pool.has(chatModel.name, 'generate', background)).toBe(true);
  expect(await pool.has(chatModel.name, 'embed', background)).toBe(false);
  expect((await pool.models(background)).map(({ name, createdAt }) => [name, createdAt])).toEqual([
    [chatModel.name, 1_793_491_200],
  ]);
  await Promise.all(nodes.map((node) => node.close()));
  clock.advance(freshMs);
  expect(await pool.has(chatModel.name, 'generate', background)).toBe(true);
  await background.settle();
  clock.advance(60_000);
  expect(await pool.has(chatModel.name, 'generate', background)).toBe(false);
});
