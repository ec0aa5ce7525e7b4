/** Embeddings by models that only the pool has, as the isolate's own are made: unit vectors, one a row. */
import { ApiError } from '../../errors.ts';
import type { EmbeddingBatch, EmbeddingInputs, RemoteCall, RemoteEngine, RemoteModel } from '../../inference/engine.ts';
import { countOf } from '../../inference/engine.ts';
import type { EmbedResponse } from '../../pool-client/gen/services_pb.js';
import type { Background } from '../../ports.ts';
import type { Pool } from './pool.ts';

/** Longest time that one batch may take, in milliseconds. */
export const embedTimeoutMs = 60_000;

/** The pool as a place where embeddings are computed. */
export class PoolEmbeddings implements RemoteEngine {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  async find(name: string, background: Background): Promise<RemoteModel | null> {
    const models = await this.#pool.models(background);
    const found = models.find((model) => model.name === name && model.capabilities.has('embed'));
    return found === undefined ? null : { name, version: found.version, kind: 'remote' };
  }

  async embed({ name }: RemoteModel, inputs: EmbeddingInputs, call: RemoteCall): Promise<EmbeddingBatch> {
    const request =
      inputs.kind === 'texts'
        ? { model: name, texts: [...inputs.texts] }
        : { model: name, tokens: inputs.sequences.map((ids) => ({ ids: [...ids] })) };
    const wanted = { model: name, capability: 'embed' } as const;
    // Nothing is kept between two calls that a node could reuse: any node is as good.
    const answer = await this.#pool.call({ ...call, wanted, key: null, timeoutMs: embedTimeoutMs }, (client, options) =>
      client.inference.embed(request, options),
    );
    return toBatch(answer, countOf(inputs));
  }
}

/** @throws ApiError upstream_failed where the vectors are not as many as the inputs */
function toBatch(answer: EmbedResponse, count: number): EmbeddingBatch {
  const { vectors, dimensions, tokenCounts, truncatedInputs } = answer;
  if (dimensions === 0 || vectors.byteLength !== count * dimensions * Float32Array.BYTES_PER_ELEMENT) {
    throw new ApiError('upstream_failed', 'The node’s vectors are not as many as the inputs.');
  }
  return {
    // Copied, since the bytes may lie anywhere in the message and floats must be aligned.
    vectors: new Float32Array(vectors.slice().buffer),
    dimensions,
    count,
    tokens: tokenCounts.reduce((sum, tokens) => sum + tokens, 0),
    truncated: truncatedInputs,
  };
}
