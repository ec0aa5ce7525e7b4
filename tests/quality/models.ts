/** The product's models, opened with the module that the edge loads, for the tests of quality. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';
import type { EmbeddingModel } from '../../wasm-rust/pkg/inference/treeline_inference.js';

const repository = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** The module with relaxed SIMD, and the one for hosts without. */
export const MODULES = {
  relaxed: repository('wasm-rust/pkg/inference/treeline_inference_bg.wasm'),
  plain: repository('wasm-rust/pkg/inference/treeline_inference_plain_bg.wasm'),
} as const;

export const MINILM = repository('.treeline/assets/models/all-minilm-l6-v2.tlm');
export const STATIC = repository('wasm-rust/pkg/static/treeline-static-v1.tlm');

/**
 * Whether tests that need MiniLM's weights are left out: only where `npm run models` has not been run, and never in CI.
 */
export const withoutMiniLm = !existsSync(MINILM) && process.env.CI === undefined;
if (withoutMiniLm) console.warn(`No ${MINILM}: run \`npm run models\`. The tests of MiniLM's quality are left out.`);

/** Opens `models` in a fresh instance of the module. The glue keeps one instance, so it is imported afresh as well. */
export async function openModels(build: keyof typeof MODULES, models: readonly string[]): Promise<EmbeddingModel[]> {
  vi.resetModules();
  const { initSync, ModelLoader } = await import('../../wasm-rust/pkg/inference/treeline_inference.js');
  initSync({ module: new WebAssembly.Module(readFileSync(MODULES[build])) });
  return models.map((path) => {
    const bytes = readFileSync(path);
    const loader = new ModelLoader(bytes.length);
    loader.write(bytes);
    return loader.finish();
  });
}

/** The embeddings of `texts` in one call, one array each. */
export function embed(model: EmbeddingModel, texts: readonly string[]): Float32Array[] {
  const result = model.embed([...texts]);
  const vectors = result.vectors;
  result.free();
  const width = vectors.length / texts.length;
  return texts.map((_, index) => vectors.slice(index * width, (index + 1) * width));
}
