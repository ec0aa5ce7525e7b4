import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  ManualClock,
  MemoryBackground,
  MemoryLog,
  noSearches,
  ScriptedSql,
  seededRandom,
} from '../../tests/support/ports.ts';
import { repositoryFile } from '../../tests/wasm/modules.ts';
import { initSync } from '../../wasm-rust/pkg/inference/treeline_inference.js';
import { ApiError } from '../errors.ts';
import type { ObjectStore, Platform } from '../ports.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { WasmTrapped } from '../wasm/instance.ts';
import { vectorOf } from './engine.ts';
import { WasmEmbeddingEngine } from './wasm-engine.ts';

const weights = new URL('../../.treeline/assets/models/all-minilm-l6-v2.tlm', import.meta.url);
const texts = { kind: 'texts', texts: ['hello world'] } as const;

/** The real weights, as a host streams them; `damage` changes what a chunk holds. */
function store(damage: (chunk: Uint8Array) => Uint8Array = (chunk) => chunk) {
  const opened: string[] = [];
  const objects: ObjectStore = {
    async open(name) {
      opened.push(name);
      const chunks = Readable.toWeb(createReadStream(weights)) as ReadableStream<Uint8Array>;
      const change = new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => controller.enqueue(damage(chunk)),
      });
      return chunks.pipeThrough(change);
    },
  };
  return { objects, opened };
}

/** A host of files, as Deno and Node are. */
function fileHost(objects: ObjectStore): Platform {
  const unused = async (): Promise<never> => {
    throw new Error('inference uses no state of its own');
  };
  return {
    name: 'test',
    clock: new ManualClock(),
    random: seededRandom(1),
    sql: new ScriptedSql(),
    sharedStore: null,
    identity: null,
    poolFetch: null,
    log: new MemoryLog(),
    singletons: { update: unused },
    searches: noSearches,
    objects,
    wasm: {
      // The plain build, which every Node runs.
      compiled: async () =>
        new WebAssembly.Module(repositoryFile('wasm-rust/pkg/inference/treeline_inference_plain_bg.wasm')),
    },
    staticModel: async () => repositoryFile('wasm-rust/pkg/static/treeline-static-v1.tlm'),
  };
}

function createEngine(objects: ObjectStore) {
  const traps: WasmTrapped[] = [];
  const onTrap = (trap: WasmTrapped) => void traps.push(trap);
  const engine = new WasmEmbeddingEngine({ platform: fileHost(objects), metrics: createMetrics(), onTrap });
  return { engine, traps };
}

describe('models in the isolate', () => {
  let background: MemoryBackground;
  beforeEach(() => {
    background = new MemoryBackground();
  });

  const modelOf = (engine: WasmEmbeddingEngine, name: string) => {
    const model = engine.find(name);
    if (model === null) throw new Error(`no model ${name}`);
    return model;
  };

  it('that are wanted at once share one instance, and each is loaded once', async () => {
    const { objects, opened } = store();
    const { engine } = createEngine(objects);
    const all = [...engine.models, ...engine.models];
    await Promise.all(all.map((model) => engine.ready(model, background)));
    await Promise.all(engine.models.map((model) => engine.embed(model, texts, background)));
    expect(opened).toEqual(['models/all-minilm-l6-v2.tlm']);
  });

  it('are what the catalogue says', async () => {
    const { engine } = createEngine(store().objects);
    for (const model of engine.models) {
      const { vectors, dimensions, tokens } = await engine.embed(model, texts, background);
      expect([vectors.length, dimensions]).toEqual([model.dimensions, model.dimensions]);
      expect(Math.hypot(...vectors)).toBeCloseTo(1, 4);
      expect(tokens).toBeGreaterThan(1);
    }
  });

  it('come back with the same answers after a trap', async () => {
    const { objects, opened } = store();
    const { engine, traps } = createEngine(objects);
    const model = modelOf(engine, 'all-minilm-l6-v2');
    const before = await engine.embed(model, texts, background);
    // What a stray write would do: every pointer that the module follows is now out of bounds.
    const { memory } = initSync({ module: new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)) });
    new Uint8Array(memory.buffer).fill(0xff);
    await expect(engine.embed(model, texts, background)).rejects.toThrow(WasmTrapped);
    const after = await engine.embed(model, texts, background);
    expect(vectorOf(after, 0)).toEqual(vectorOf(before, 0));
    expect(traps).toHaveLength(1);
    expect(opened).toHaveLength(2);
  });

  it('are refused when a byte of the weights differs, and load once the store is repaired', async () => {
    let isDamaged = true;
    const { objects } = store((chunk) => {
      const copy = Uint8Array.from(chunk);
      if (isDamaged) copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
      return copy;
    });
    const { engine } = createEngine(objects);
    const model = modelOf(engine, 'all-minilm-l6-v2');
    const refusal = await engine.embed(model, texts, background).catch((thrown: unknown) => thrown);
    expect(refusal).toBeInstanceOf(ApiError);
    expect(refusal).toMatchObject({ code: 'model_unavailable' });
    isDamaged = false;
    expect((await engine.embed(model, texts, background)).count).toBe(1);
  });

  it('are refused when the weights end early or go on too long', async () => {
    for (const damage of [
      (chunk: Uint8Array) => chunk.subarray(1),
      (chunk: Uint8Array) => Buffer.concat([chunk, chunk]),
    ]) {
      const { engine } = createEngine(store(damage).objects);
      const refusal = await engine.embed(modelOf(engine, 'test'), texts, background).catch((thrown: unknown) => thrown);
      expect(refusal).toMatchObject({ code: 'model_unavailable' });
    }
  });

  it('answer in order however many inputs there are', async () => {
    const { engine } = createEngine(store().objects);
    const model = modelOf(engine, 'treeline-static-v1');
    const many = Array.from({ length: 100 }, (_, index) => `sentence number ${index}`);
    const batch = await engine.embed(model, { kind: 'texts', texts: many }, background);
    for (const index of [0, 15, 16, 17, 99]) {
      const alone = await engine.embed(model, { kind: 'texts', texts: [many[index] ?? ''] }, background);
      expect(vectorOf(batch, index)).toEqual(vectorOf(alone, 0));
    }
  });
});
