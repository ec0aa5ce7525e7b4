/** The product's own module and models, through the same package that the edge loads. */
import {
  type EmbeddingModel,
  type Embeddings,
  initSync,
  ModelLoader,
} from '../../wasm-rust/pkg/inference/treeline_inference.js';
import type { Engine, Order } from './engine.ts';

const DIMENSIONS = 384;

/** Instantiates `module`, the one instance of the process, and loads the models. `small` is the static model or null. */
export function createTreelineEngine(module: WebAssembly.Module, large: Uint8Array, small: Uint8Array | null): Engine {
  const { memory } = initSync({ module });
  const bert = load(large);
  const fixed = small === null ? null : load(small);
  return {
    repeat: async (order) => ({ embedding: repeat(bert, fixed, order), memoryBytes: memory.buffer.byteLength }),
  };
}

function load(bytes: Uint8Array): EmbeddingModel {
  const loader = new ModelLoader(bytes.byteLength);
  loader.write(bytes);
  return loader.finish();
}

function repeat(bert: EmbeddingModel, fixed: EmbeddingModel | null, order: Order): number[] {
  const embed = embedder(bert, fixed, order);
  let vectors: Float32Array = new Float32Array(0);
  for (let iteration = 0; iteration < order.iterations; iteration++) {
    const embeddings = embed();
    // As a caller would: the vectors are read out, and the result's memory is given back.
    vectors = embeddings.vectors;
    embeddings.free();
  }
  return [...vectors.subarray(0, DIMENSIONS)];
}

function embedder(bert: EmbeddingModel, fixed: EmbeddingModel | null, { workload, form }: Order): () => Embeddings {
  const texts = [...workload.texts];
  if (form === 'texts') return () => bert.embed(texts);
  if (form === 'ids') {
    const ids = Uint32Array.from(workload.ids.flat());
    const lengths = Uint32Array.from(workload.ids, (row) => row.length);
    return () => bert.embedTokens(ids, lengths);
  }
  if (fixed === null) throw new Error('there is no static model');
  return () => fixed.embed(texts);
}
