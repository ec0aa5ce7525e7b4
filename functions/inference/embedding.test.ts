import { beforeEach, expect, test } from 'vitest';
import {
  goModules,
  ManualClock,
  MemoryBackground,
  MemoryLog,
  MemoryStore,
  ScriptedSql,
  seededRandom,
} from '../../tests/support/ports.ts';
import { cacheWishesOf } from '../cache/cache-status.ts';
import { CacheCoordinator } from '../cache/coordinator.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { createTracer, parentOf, Steps } from '../telemetry/tracing.ts';
import { UsageLedger } from '../tenancy/usage.ts';
import { loadCacheIndex } from '../wasm/loader.ts';
import { EmbeddingService, inputsMax, shorten } from './embedding.ts';
import {
  countOf,
  type EmbeddingBatch,
  type EmbeddingEngine,
  type EmbeddingInputs,
  type ModelDescription,
} from './engine.ts';

const model: ModelDescription = {
  name: 'tiny',
  version: '1',
  kind: 'static',
  dimensions: 4,
  tokensMax: 8,
  licence: 'Apache-2.0',
  createdAt: 0,
  sha256: 'a'.repeat(64),
};
const otherModel: ModelDescription = { ...model, name: 'other', sha256: 'b'.repeat(64) };

/** Gives each input a unit vector along the axis that its length names, and counts what it computed. */
class AxisEngine implements EmbeddingEngine {
  readonly models = [model, otherModel];
  computed = 0;

  find(name: string): ModelDescription | null {
    return this.models.find((one) => one.name === name) ?? null;
  }

  async ready(): Promise<void> {}

  async embed({ dimensions }: ModelDescription, inputs: EmbeddingInputs): Promise<EmbeddingBatch> {
    this.computed += 1;
    const items: readonly { length: number }[] = inputs.kind === 'texts' ? inputs.texts : inputs.sequences;
    const vectors = new Float32Array(items.length * dimensions);
    items.forEach((item, row) => {
      vectors[row * dimensions + (item.length % dimensions)] = 1;
    });
    return { vectors, dimensions, count: countOf(inputs), tokens: items.length * 3, truncated: [] };
  }
}

let engine: AxisEngine;
let clock: ManualClock;
let store: MemoryStore;
let background: MemoryBackground;
let usage: UsageLedger;
let service: EmbeddingService;

async function makeService(): Promise<EmbeddingService> {
  const metrics = createMetrics();
  const log = new MemoryLog();
  const live = await loadCacheIndex(goModules, { weightMax: 1_048_576, entriesMax: 64, seed: 1 });
  const cache = new CacheCoordinator({ clock, sharedStore: store, metrics, log, index: async () => live });
  return new EmbeddingService({ engine, remote: null, cache, clock, metrics, usage });
}

beforeEach(async () => {
  engine = new AxisEngine();
  clock = new ManualClock();
  store = new MemoryStore(clock);
  background = new MemoryBackground();
  const [metrics, log, sql] = [createMetrics(), new MemoryLog(), new ScriptedSql()];
  usage = new UsageLedger({ sql, clock, log, metrics, random: seededRandom(2) });
  service = await makeService();
});

async function embed(
  inputs: EmbeddingInputs,
  options: { tenant?: string; cacheControl?: string; by?: EmbeddingService } = {},
) {
  const steps = new Steps(createTracer(seededRandom(1), []), clock, 'POST /', parentOf(undefined));
  const answer = await (options.by ?? service).embed(model, inputs, {
    caller: { tenantId: options.tenant ?? 'tenant-1', keyId: null },
    steps,
    background,
    wishes: cacheWishesOf(options.cacheControl),
    signal: new AbortController().signal,
    operation: 'embeddings',
  });
  await background.settle();
  return answer;
}

const texts = (...all: string[]): EmbeddingInputs => ({ kind: 'texts', texts: all });

test('the same call again comes from the cache, number for number', async () => {
  const first = await embed(texts('a', 'bb'));
  const second = await embed(texts('a', 'bb'));
  expect([first.outcome.kind, second.outcome.kind, engine.computed]).toEqual(['miss', 'hit', 1]);
  expect(second.batch).toEqual(first.batch);
});

test('another isolate answers it from the shared store', async () => {
  const first = await embed(texts('a'));
  const second = await embed(texts('a'), { by: await makeService() });
  expect(second.outcome).toMatchObject({ kind: 'hit', tier: 'shared' });
  expect(second.batch).toEqual(first.batch);
});

test.each<[string, EmbeddingInputs, string]>([
  ['another tenant', texts('a'), 'tenant-2'],
  ['another text', texts('b'), 'tenant-1'],
  ['the texts in another order', texts('b', 'a'), 'tenant-1'],
  ['token ids', { kind: 'tokens', sequences: [[97]] }, 'tenant-1'],
])('%s is a miss', async (_, inputs, tenant) => {
  await embed(texts('a'));
  expect((await embed(inputs, { tenant })).outcome.kind).toBe('miss');
});

test('no-store leaves no trace in either tier, no-cache computes anew and stores', async () => {
  expect((await embed(texts('a'), { cacheControl: 'no-store' })).outcome.kind).toBe('bypass');
  expect(store.calls).toEqual([]);
  expect((await embed(texts('a'))).outcome.kind).toBe('miss');
  expect((await embed(texts('a'), { cacheControl: 'no-cache' })).outcome.kind).toBe('miss');
  expect((await embed(texts('a'))).outcome.kind).toBe('hit');
  expect(engine.computed).toBe(3);
});

test.each([
  ['nothing like a batch', 'hello'],
  ['a batch of another size', '{"tokens":1,"truncated":[]}\nAAAA'],
  ['a head that is not JSON', `{\n${Buffer.alloc(16).toString('base64')}`],
])('a shared store that holds %s is a miss, never an error', async (_, value) => {
  await embed(texts('a'));
  for (const entry of store.entries.values()) entry.value = `${clock.now()} ${value}`;
  const answer = await embed(texts('a'), { by: await makeService() });
  expect([answer.outcome.kind, engine.computed]).toEqual(['miss', 2]);
});

test('every call counts, also one that the cache answered', async () => {
  await embed(texts('a'));
  await embed(texts('a'));
  expect(usage.backlog).toBe(2);
});

test.each<[string, EmbeddingInputs, string]>([
  ['no input', texts(), 'input'],
  ['an empty text', texts('a', ''), 'input.1'],
  ['an empty sequence', { kind: 'tokens', sequences: [[]] }, 'input.0'],
  ['too many inputs', texts(...Array.from({ length: inputsMax + 1 }, () => 'a')), 'input'],
])('%s is refused before anything is computed', async (_, inputs, parameter) => {
  await expect(embed(inputs)).rejects.toMatchObject({ code: 'invalid_request', parameter });
  expect([engine.computed, usage.backlog]).toEqual([0, 0]);
});

test('the bound on inputs itself is taken', async () => {
  const answer = await embed(texts(...Array.from({ length: inputsMax }, () => 'a')));
  expect(answer.batch.count).toBe(inputsMax);
});

test('an unknown model is refused with the names of those that there are', () => {
  expect(service.model('tiny')).toBe(model);
  expect(() => service.model('huge')).toThrow(/"huge".*tiny, other/);
});

test('shorten keeps the first numbers and makes the length 1 again', () => {
  const vectors = new Float32Array([0.6, 0.8, 0, 0, 0, 0, 1, 0, 0.5, 0.5, 0.5, 0.5]);
  const batch = { vectors, dimensions: 4, count: 3, tokens: 9, truncated: [1] };
  expect(shorten(batch, 4)).toBe(batch);
  const short = shorten(batch, 2);
  expect(short).toMatchObject({ dimensions: 2, count: 3, tokens: 9, truncated: [1] });
  const expected = [0.6, 0.8, 0, 0, Math.SQRT1_2, Math.SQRT1_2];
  expect(Array.from(short.vectors).every((value, at) => Math.abs(value - (expected[at] ?? 9)) < 1e-6)).toBe(true);
  expect(Array.from(batch.vectors)).toEqual(Array.from(vectors));
});
