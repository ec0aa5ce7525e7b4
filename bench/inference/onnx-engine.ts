/** onnxruntime-web in its fastest form for this model: one session, one thread, tensors made once per order. */
import type { InferenceSession } from 'onnxruntime-web/wasm';
import * as onnx from 'onnxruntime-web/wasm';
import type { Engine, Order, Outcome } from './engine.ts';

const DIMENSIONS = 384;

/** Loads `model`. The caller sets what its host needs on `onnx.env` first. */
export async function createOnnxEngine(model: Uint8Array, memoryBytes: () => number): Promise<Engine> {
  onnx.env.wasm.numThreads = 1;
  const options = { executionProviders: ['wasm'], graphOptimizationLevel: 'all' } as const;
  const session = await onnx.InferenceSession.create(model, options);
  return { repeat: async (order) => ({ embedding: await repeat(session, order), memoryBytes: memoryBytes() }) };
}

async function repeat(
  session: InferenceSession,
  { workload: { ids }, form, iterations }: Order,
): Promise<Outcome['embedding']> {
  if (form !== 'ids') throw new Error('onnxruntime-web has no tokenizer');
  const shape = [ids.length, ids[0]?.length ?? 0];
  const flat = ids.flat();
  const feeds = {
    input_ids: new onnx.Tensor('int64', BigInt64Array.from(flat, BigInt), shape),
    attention_mask: new onnx.Tensor('int64', new BigInt64Array(flat.length).fill(1n), shape),
  };
  let embeddings: unknown = new Float32Array(0);
  for (let iteration = 0; iteration < iterations; iteration++) {
    embeddings = (await session.run(feeds)).embedding?.data;
  }
  if (!(embeddings instanceof Float32Array)) throw new Error('onnxruntime-web gave no embedding');
  return [...embeddings.subarray(0, DIMENSIONS)];
}
