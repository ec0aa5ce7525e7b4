/** What the inference capability asks of whatever computes: the seam between HTTP and the models. */

import type { Background } from '../ports.ts';

/** What a model is, for `/v1/models` and the Open Inference metadata. */
export interface ModelDescription {
  readonly name: string;
  /** Version of the weights, as Open Inference names it in a path. */
  readonly version: string;
  readonly kind: 'bert' | 'static';
  readonly dimensions: number;
  /** Tokens that the model reads of one input; the rest is cut and reported. */
  readonly tokensMax: number;
  readonly licence: string;
  readonly createdAt: number;
  /** SHA-256 of the weights; part of every cache key. */
  readonly sha256: string;
}

/** A model that computes in the inference pool. Its vectors tell how many numbers they have. */
export interface RemoteModel {
  readonly name: string;
  readonly version: string;
  readonly kind: 'remote';
}

/** A model of either place. */
export type EmbeddingModel = ModelDescription | RemoteModel;

/** What is to be embedded: texts, or token ids of the model's own vocabulary. */
export type EmbeddingInputs =
  | { readonly kind: 'texts'; readonly texts: readonly string[] }
  | { readonly kind: 'tokens'; readonly sequences: readonly (readonly number[])[] };

/** Unit vectors, one a row, and what was read to make them. */
export interface EmbeddingBatch {
  /** Row-major, `count * dimensions`. */
  readonly vectors: Float32Array;
  readonly dimensions: number;
  readonly count: number;
  /** Tokens read, special ones included. */
  readonly tokens: number;
  /** Indices of the inputs that were longer than the model reads. */
  readonly truncated: readonly number[];
}

/** Models that compute in this isolate. */
export interface EmbeddingEngine {
  readonly models: readonly ModelDescription[];
  /** The model that `name`, or an alias of it, stands for; null where there is none. */
  find(name: string): ModelDescription | null;
  /**
   * Loads the model unless it is there. Loading goes on in the `background`, since other requests may wait for it when
   * the one that began it is gone. Throws ApiError model_unavailable.
   */
  ready(model: ModelDescription, background: Background): Promise<void>;
  /** Embeds `inputs`, none of them empty. Throws ApiError, or WasmTrapped. */
  embed(model: ModelDescription, inputs: EmbeddingInputs, background: Background): Promise<EmbeddingBatch>;
}

/** What a call to another place takes along. */
export interface RemoteCall {
  readonly background: Background;
  readonly traceparent: string;
  /** Aborts with the client's connection. */
  readonly signal: AbortSignal;
}

/** Models that compute in the inference pool. */
export interface RemoteEngine {
  /** The embedding model `name` of the pool; null where it has none. */
  find(name: string, background: Background): Promise<RemoteModel | null>;
  /** Embeds `inputs`, none of them empty. @throws ApiError */
  embed(model: RemoteModel, inputs: EmbeddingInputs, call: RemoteCall): Promise<EmbeddingBatch>;
}

/** How many inputs there are. */
export const countOf = (inputs: EmbeddingInputs): number =>
  inputs.kind === 'texts' ? inputs.texts.length : inputs.sequences.length;

/** Row `index` of the batch, as a view. */
export const vectorOf = (batch: EmbeddingBatch, index: number): Float32Array =>
  batch.vectors.subarray(index * batch.dimensions, (index + 1) * batch.dimensions);
