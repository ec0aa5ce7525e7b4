/** From inputs to vectors: limits, cache, computation, accounting. Free of HTTP. */
import { Buffer } from 'node:buffer';
import type { CacheOutcome, CacheWishes } from '../cache/cache-status.ts';
import { type CacheCoordinator, cacheKey } from '../cache/coordinator.ts';
import { ApiError } from '../errors.ts';
import type { Background, Clock } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type Steps, traceparentOf } from '../telemetry/tracing.ts';
import type { Caller } from '../tenancy/caller.ts';
import type { UsageLedger } from '../tenancy/usage.ts';
import {
  countOf,
  type EmbeddingBatch,
  type EmbeddingEngine,
  type EmbeddingInputs,
  type EmbeddingModel,
  type ModelDescription,
  type RemoteEngine,
} from './engine.ts';

/** Inputs of one request, as OpenAI bounds them. */
export const inputsMax = 2_048;

/** What one call needs besides its inputs. */
export interface CallContext {
  readonly caller: Caller;
  readonly steps: Steps;
  readonly background: Background;
  readonly wishes: CacheWishes;
  /** Aborts with the client's connection. */
  readonly signal: AbortSignal;
  /** The operation as usage and traces name it, such as `embeddings`. */
  readonly operation: string;
}

/** Vectors and what the cache did for them. */
export interface EmbeddingAnswer {
  readonly model: EmbeddingModel;
  readonly batch: EmbeddingBatch;
  readonly outcome: CacheOutcome;
}

interface EmbeddingPorts {
  readonly engine: EmbeddingEngine;
  /** Null where there is no pool. */
  readonly remote: RemoteEngine | null;
  readonly cache: CacheCoordinator;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly usage: UsageLedger;
}

/** Embeds for a tenant; one an isolate. */
export class EmbeddingService {
  readonly engine: EmbeddingEngine;
  readonly #ports: EmbeddingPorts;

  constructor(ports: EmbeddingPorts) {
    this.engine = ports.engine;
    this.#ports = ports;
  }

  /** The model `name` stands for. @throws ApiError model_not_found */
  model(name: string): ModelDescription {
    const model = this.engine.find(name);
    if (model !== null) return model;
    const known = this.engine.models.map((one) => one.name).join(', ');
    throw new ApiError('model_not_found', `No embedding model is named "${name.slice(0, 80)}"; there are: ${known}.`, {
      parameter: 'model',
    });
  }

  /** The same of the isolate, or else of the pool. @throws ApiError model_not_found */
  async modelAnywhere(name: string, background: Background): Promise<EmbeddingModel> {
    const own = this.engine.find(name);
    return own ?? (await this.#ports.remote?.find(name, background)) ?? this.model(name);
  }

  /**
   * Embeds `inputs`; the answer may come from the cache.
   * @throws ApiError invalid_request for an empty input or too many, model_unavailable; WasmTrapped.
   */
  async embed(model: EmbeddingModel, inputs: EmbeddingInputs, call: CallContext): Promise<EmbeddingAnswer> {
    checkInputs(inputs);
    const startedAt = this.#ports.clock.elapsed();
    const answer = await this.#answer(model, inputs, call);
    const latencyMs = Math.max(0, this.#ports.clock.elapsed() - startedAt);
    const { tokens } = answer.batch;
    const cacheHit = answer.outcome.kind === 'hit';
    call.steps.request.setAttributes({
      'gen_ai.operation.name': call.operation,
      'gen_ai.request.model': model.name,
      'gen_ai.usage.input_tokens': tokens,
      'treeline.cache.hit': cacheHit,
    });
    const event = { operation: call.operation, model: model.name, inputTokens: tokens, outputTokens: 0, cacheHit };
    this.#ports.usage.record(call.caller, { ...event, latencyMs });
    return answer;
  }

  async #answer(model: EmbeddingModel, inputs: EmbeddingInputs, call: CallContext): Promise<EmbeddingAnswer> {
    const { cache } = this.#ports;
    if (!call.wishes.mayStore) {
      return { model, batch: await this.#compute(model, inputs, call), outcome: { kind: 'bypass' } };
    }
    const key = await cacheKey(['embedding', call.caller.tenantId, identityOf(model), JSON.stringify(inputs)]);
    const found = await call.steps.run('cache', () => cache.lookup(key, call.wishes));
    const known = found === null ? null : deserialise(found.value, model, countOf(inputs));
    if (found !== null && known !== null) return { model, batch: known, outcome: found.outcome };
    const batch = await this.#compute(model, inputs, call);
    const { stored, shared } = await cache.store(key, serialise(batch));
    call.background.run(shared);
    return { model, batch, outcome: stored ? { kind: 'miss', stored } : { kind: 'miss', stored, detail: 'too-large' } };
  }

  async #compute(model: EmbeddingModel, inputs: EmbeddingInputs, call: CallContext): Promise<EmbeddingBatch> {
    const { engine, remote, clock, metrics } = this.#ports;
    if (model.kind === 'remote') {
      if (remote === null) throw new ApiError('model_not_found');
      const { background, signal } = call;
      return call.steps.run('pool', (span) =>
        remote.embed(model, inputs, { background, signal, traceparent: traceparentOf(span) }),
      );
    }
    return call.steps.run('inference', async (span) => {
      span.setAttribute('gen_ai.request.model', model.name);
      await engine.ready(model, call.background);
      const startedAt = clock.elapsed();
      const batch = await engine.embed(model, inputs, call.background);
      metrics.inferenceSeconds.observe({ model: model.name }, Math.max(0, clock.elapsed() - startedAt) / 1e3);
      metrics.inferenceTokens.inc({ model: model.name }, batch.tokens);
      return batch;
    });
  }
}

/** What tells a model's vectors from any other's. */
const identityOf = (model: EmbeddingModel): string =>
  model.kind === 'remote' ? `pool/${model.name}/${model.version}` : model.sha256;

function checkInputs(inputs: EmbeddingInputs): void {
  const count = countOf(inputs);
  if (count === 0) throw new ApiError('invalid_request', 'There is no input.', { parameter: 'input' });
  if (count > inputsMax) {
    throw new ApiError('invalid_request', `At most ${inputsMax} inputs a request, not ${count}.`, {
      parameter: 'input',
    });
  }
  const items: readonly { length: number }[] = inputs.kind === 'texts' ? inputs.texts : inputs.sequences;
  const empty = items.findIndex((item) => item.length === 0);
  if (empty >= 0) {
    throw new ApiError('invalid_request', `Input ${empty} is empty.`, { parameter: `input.${empty}` });
  }
}

/** A batch as the cache holds it: little-endian floats in base64, after a small head in JSON. */
function serialise({ vectors, dimensions, tokens, truncated }: EmbeddingBatch): string {
  const floats = Buffer.from(vectors.buffer, vectors.byteOffset, vectors.byteLength).toString('base64');
  return `${JSON.stringify({ dimensions, tokens, truncated })}\n${floats}`;
}

/** The batch that `text` holds, or null where it is not one (a shared store may hold anything). */
function deserialise(text: string, model: EmbeddingModel, count: number): EmbeddingBatch | null {
  const [head, floats] = text.split('\n', 2);
  if (head === undefined || floats === undefined) return null;
  const bytes = Uint8Array.from(Buffer.from(floats, 'base64'));
  try {
    const { tokens, truncated, ...stored } = JSON.parse(head) as Omit<EmbeddingBatch, 'vectors' | 'count'>;
    const dimensions = model.kind === 'remote' ? stored.dimensions : model.dimensions;
    if (bytes.byteLength !== count * dimensions * Float32Array.BYTES_PER_ELEMENT) return null;
    return { vectors: new Float32Array(bytes.buffer), dimensions, count, tokens, truncated };
  } catch {
    return null;
  }
}

/**
 * The first `dimensions` numbers of each vector, scaled to length 1 again, as OpenAI's `dimensions` does.
 * `dimensions` is between 1 and the model's own number.
 */
export function shorten(batch: EmbeddingBatch, dimensions: number): EmbeddingBatch {
  if (dimensions === batch.dimensions) return batch;
  const vectors = new Float32Array(batch.count * dimensions);
  for (let row = 0; row < batch.count; row += 1) {
    const start = row * batch.dimensions;
    const kept = batch.vectors.subarray(start, start + dimensions);
    const norm = Math.hypot(...kept);
    vectors.set(norm === 0 ? kept : kept.map((value) => value / norm), row * dimensions);
  }
  return { ...batch, vectors, dimensions };
}
