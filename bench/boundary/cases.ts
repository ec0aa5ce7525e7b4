/** The crossings that are measured: JavaScript into a module and back. */
import { readFileSync } from 'node:fs';
import { startInference } from '../../functions/inference/inference-module.ts';
import type { WasmModuleName, WasmModules } from '../../functions/ports.ts';
import { load, loadCacheIndex, loadRouter } from '../../functions/wasm/loader.ts';
import type { CacheExports } from '../../wasm-go/dist/cache.d.ts';
import { startGoModule } from '../../wasm-go/instance.ts';

/** One crossing: `call` is run many times in a row, with a running number. Its result keeps it from being left out. */
export interface Case {
  readonly name: string;
  readonly call: (at: number) => number;
}

const files: Record<WasmModuleName, string> = {
  analytics: 'wasm-rust/pkg/analytics/treeline_analytics_bg.wasm',
  cache: 'wasm-go/dist/cache.wasm',
  routing: 'wasm-go/dist/routing.wasm',
  search: 'wasm-rust/pkg/search/treeline_search_bg.wasm',
  inference: 'wasm-rust/pkg/inference/treeline_inference_bg.wasm',
};

const read = (path: string) => new Uint8Array(readFileSync(new URL(`../../${path}`, import.meta.url)));
const wasm: WasmModules = { compiled: async (name) => new WebAssembly.Module(read(files[name])) };

/** As long as the keys of the cache: a SHA-256 in hexadecimal. */
const keys = Array.from({ length: 1_024 }, (_, at) => at.toString(16).padStart(64, '0'));
const keyAt = (at: number) => keys[at % keys.length] ?? '';

export async function cases(): Promise<Case[]> {
  return [...(await cacheCases()), ...(await routingCases()), ...(await inferenceCases())];
}

async function cacheCases(): Promise<Case[]> {
  const bare = startGoModule<CacheExports>(await wasm.compiled('cache'));
  const live = await loadCacheIndex(wasm, { weightMax: 1_000_000, entriesMax: 2_048 });
  const index = live.run((instance) => instance);
  const full = (await loadCacheIndex(wasm, { weightMax: 1_000_000, entriesMax: 512 })).run((instance) => instance);
  for (const key of keys) index.insert(key, 1, 3_600_000, 0);
  return [
    { name: 'empty call', call: () => bare.keyBytesMax() },
    { name: 'empty call, trap caught', call: () => live.run(() => bare.keyBytesMax()) },
    { name: 'cache lookup, hit, 64-byte key copied in', call: (at) => index.lookup(keyAt(at), 1) },
    { name: 'the same, trap caught', call: (at) => live.run((instance) => instance.lookup(keyAt(at), 1)) },
    { name: 'cache insertion with an eviction', call: (at) => full.insert(keyAt(at), 1, 3_600_000, 0).slot },
  ];
}

async function routingCases(): Promise<Case[]> {
  const router = (await loadRouter(wasm)).run((instance) => instance);
  router.setUpstreams(Array.from({ length: 8 }, () => ({ weight: 1 })));
  return [
    { name: 'choice among 8 upstreams', call: (at) => router.choose(at, (at * 0.37) % 1, (at * 0.73) % 1) },
    {
      name: 'choice, begin and end',
      call: (at) => {
        const chosen = router.choose(at, (at * 0.37) % 1, (at * 0.73) % 1);
        router.begin(chosen, at);
        router.end(chosen, at, 20, true);
        return chosen;
      },
    },
  ];
}

const sentence = 'The quick brown fox jumps over the lazy dog';

async function inferenceCases(): Promise<Case[]> {
  const weights = read('wasm-rust/pkg/static/treeline-static-v1.tlm');
  const live = await load(wasm, 'inference', startInference);
  const model = live.run((module) => {
    const loader = module.openLoader(weights.length);
    loader.write(weights);
    return loader.finish();
  });
  return [
    {
      name: 'static embedding of 9 words, tokenizer included',
      call: () => live.run(() => model.embed([sentence])).vectors.length,
    },
  ];
}
