/** The Rust module traps and is replaced; and its memory is handed back, model by model and call by call. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type InferenceModule, type LoadedModel, startInference } from '../../functions/inference/inference-module.ts';
import type { WasmModules } from '../../functions/ports.ts';
import { type LiveInstance, WasmTrapped } from '../../functions/wasm/instance.ts';
import { load } from '../../functions/wasm/loader.ts';
import { initSync } from '../../wasm-rust/pkg/inference/treeline_inference.js';
import { repositoryFile } from './modules.ts';

const staticModel = 'wasm-rust/pkg/static/treeline-static-v1.tlm';
const miniLm = '.treeline/assets/models/all-minilm-l6-v2.tlm';
const present = (path: string) => existsSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)));

const module = new WebAssembly.Module(repositoryFile('wasm-rust/pkg/inference/treeline_inference_bg.wasm'));
const modules: WasmModules = { compiled: async () => module };

function loaded(live: LiveInstance<InferenceModule>, path: string): LoadedModel {
  const bytes = repositoryFile(path);
  return live.run((inference) => {
    const loader = inference.openLoader(bytes.length);
    loader.write(bytes);
    return loader.finish();
  });
}

/** The current instance's memory in bytes. */
const memoryBytes = () => initSync({ module }).memory.buffer.byteLength;

/** What the glue would do with a pointer that something has overwritten. */
const trap = () => initSync({ module }).embeddingmodel_info(0xfffffff0);

describe('a trap', () => {
  test('of the Rust module fails that call and is followed by a fresh instance', async () => {
    const live = await load(modules, 'inference', startInference);
    const before = live.run(() => initSync({ module }).memory);
    expect(() => live.run(trap)).toThrow(WasmTrapped);
    expect(live.run((_, generation) => generation)).toBe(2);
    expect(initSync({ module }).memory).not.toBe(before);
  });

  test('takes the models with it: they refuse, and work once they are loaded again', async () => {
    const live = await load(modules, 'inference', startInference);
    const model = loaded(live, staticModel);
    const { vectors } = live.run(() => model.embed(['one more time']));
    expect(() => live.run(trap)).toThrow(WasmTrapped);
    live.run(() => undefined);
    expect(() => live.run(() => model.embed(['one more time']))).toThrow(/stale/);
    const again = loaded(live, staticModel);
    expect(live.run(() => again.embed(['one more time'])).vectors).toEqual(vectors);
  });

  test('happens a hundred times over without an end', async () => {
    const live = await load(modules, 'inference', startInference);
    for (let time = 0; time < 100; time++) expect(() => live.run(trap)).toThrow(WasmTrapped);
    const model = loaded(live, staticModel);
    expect(live.run(() => model.embed(['still there'])).tokenCounts).toHaveLength(1);
    expect(live.traps).toBe(100);
  });
});

describe('memory does not grow', () => {
  test('over 100,000 calls of the static model', async () => {
    const live = await load(modules, 'inference', startInference);
    const model = loaded(live, staticModel);
    const call = (at: number) => live.run(() => model.embed([`text number ${at} of many`, 'ü'.repeat(at % 50) + at]));
    for (let at = 0; at < 1_000; at++) call(at);
    const early = memoryBytes();
    for (let at = 0; at < 100_000; at++) call(at);
    expect(memoryBytes()).toBe(early);
  });

  test('over loaders that are given up', async () => {
    const live = await load(modules, 'inference', startInference);
    const bytes = repositoryFile(staticModel);
    const openAndGiveUp = () =>
      live.run((inference) => {
        const loader = inference.openLoader(bytes.length);
        loader.write(bytes.subarray(0, bytes.length / 2));
        loader.discard();
      });
    openAndGiveUp();
    const early = memoryBytes();
    for (let time = 0; time < 50; time++) openAndGiveUp();
    expect(memoryBytes()).toBe(early);
  });

  // `npm run models` puts the file there; CI does so before the tests.
  test.skipIf(!present(miniLm) && process.env.CI !== 'true')(
    'over 1,000 calls of MiniLM',
    async () => {
      const live = await load(modules, 'inference', startInference);
      const model = loaded(live, miniLm);
      const call = (at: number) => live.run(() => model.embed(['hello '.repeat(1 + (at % 12))]));
      for (let at = 0; at < 50; at++) call(at);
      const early = memoryBytes();
      for (let at = 0; at < 1_000; at++) call(at);
      expect(memoryBytes()).toBe(early);
    },
    60_000,
  );
});
