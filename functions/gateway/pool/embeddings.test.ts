import { afterEach, expect, test } from 'vitest';
import { described, type NodeBehaviour, startNode } from '../../../tests/support/pool-node.ts';
import { goModules, ManualClock, MemoryBackground, MemoryLog, seededRandom } from '../../../tests/support/ports.ts';
import { ModelState } from '../../pool-client/gen/services_pb.js';
import { createMetrics } from '../../telemetry/metrics.ts';
import { loadRouter } from '../../wasm/loader.ts';
import { createPool } from './create-pool.ts';
import { PoolEmbeddings } from './embeddings.ts';

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((server) => server.close()));
});

const models = [{ name: 'encoder', version: '3', state: ModelState.READY, capabilities: ['embed'] }];
const call = {
  background: new MemoryBackground(),
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  signal: new AbortController().signal,
};

async function setUp(embed: NonNullable<NonNullable<NodeBehaviour['inference']>['embed']>) {
  let address = '';
  const listNodes = () => ({ nodes: [described('node', address, { models })] });
  const node = await startNode({ node: { listNodes }, inference: { embed } });
  closing.push(node);
  address = node.url;
  const live = await loadRouter(goModules);
  const sources = { clock: new ManualClock(), random: seededRandom(1), log: new MemoryLog(), metrics: createMetrics() };
  return new PoolEmbeddings(createPool([node.url], { ...sources, fetch, router: async () => live }));
}

const bytesOf = (floats: number[]) => new Uint8Array(new Float32Array(floats).buffer);

test('a model of the pool is found by its name, and only where it embeds', async () => {
  const remote = await setUp(() => ({}));
  expect(await remote.find('encoder', call.background)).toEqual({ name: 'encoder', version: '3', kind: 'remote' });
  expect(await remote.find('test-chat-of-pool', call.background)).toBeNull();
});

test('texts and token ids become rows of floats, with what was read to make them', async () => {
  const seen: unknown[] = [];
  const remote = await setUp(({ texts, tokens }) => {
    seen.push(
      texts,
      tokens.map(({ ids }) => ids),
    );
    return { dimensions: 2, tokenCounts: [3, 4], truncatedInputs: [1], vectors: bytesOf([1, 0, 0, 1]) };
  });
  const model = { name: 'encoder', version: '3', kind: 'remote' } as const;
  const batch = await remote.embed(model, { kind: 'texts', texts: ['a', 'b'] }, call);
  expect(batch).toEqual({
    vectors: new Float32Array([1, 0, 0, 1]),
    dimensions: 2,
    count: 2,
    tokens: 7,
    truncated: [1],
  });
  await remote.embed(model, { kind: 'tokens', sequences: [[5, 6], [7]] }, call);
  expect(seen).toEqual([['a', 'b'], [], [], [[5, 6], [7]]]);
});

test.each([
  { dimensions: 2, vectors: bytesOf([1, 0, 0]) },
  { dimensions: 0, vectors: new Uint8Array() },
  { dimensions: 3, vectors: bytesOf([1, 0, 0, 1]) },
])('vectors that are not as many as the inputs are a failure of the node', async (answer) => {
  const remote = await setUp(() => answer);
  const model = { name: 'encoder', version: '3', kind: 'remote' } as const;
  const embedding = remote.embed(model, { kind: 'texts', texts: ['a', 'b'] }, call);
  await expect(embedding).rejects.toMatchObject({ code: 'upstream_failed' });
});
