/**
 * The Rust module `inference` behind the few calls that the engine makes. Whatever the module hands out is copied and
 * given back at once, so that its memory does not grow.
 */
import {
  type EmbeddingModel,
  type Embeddings,
  type InitOutput,
  initSync,
  ModelLoader as RustLoader,
  __wbg_reset_state as resetGlue,
} from '../../wasm-rust/pkg/inference/treeline_inference.js';
import { ApiError } from '../errors.ts';

/** What one call computed. */
export interface ModuleEmbeddings {
  /** Row-major unit vectors. */
  readonly vectors: Float32Array;
  readonly tokenCounts: Uint32Array;
  /** 1 where an input was cut. */
  readonly truncated: Uint8Array;
}

/** A model in the module's memory. Lives and dies with the instance. */
export interface LoadedModel {
  embed(texts: readonly string[]): ModuleEmbeddings;
  embedTokens(sequences: readonly (readonly number[])[]): ModuleEmbeddings;
}

/** Takes a model's bytes as they come. */
export interface ModelLoader {
  write(chunk: Uint8Array): void;
  /** A view of what was written, until the module's memory grows. */
  bytes(): Uint8Array<ArrayBuffer>;
  /** Checks the file and makes it a model; the loader is used up. */
  finish(): LoadedModel;
  /** Gives the memory back. */
  discard(): void;
}

/** The module's one live instance. */
export interface InferenceModule {
  openLoader(byteLength: number): ModelLoader;
}

/** The generated glue holds one instance for the whole isolate, so whether there is one is the isolate's state too. */
let hasInstance = false;

/**
 * Starts a fresh instance of the isolate's module. Objects of the one before it are refused by the glue from then on,
 * so an isolate has one engine.
 */
export function startInference(module: WebAssembly.Module): InferenceModule {
  if (hasInstance) resetGlue();
  const { memory } = initSync({ module });
  hasInstance = true;
  return { openLoader: (byteLength) => openLoader(memory, byteLength) };
}

function openLoader(memory: InitOutput['memory'], byteLength: number): ModelLoader {
  const loader = new RustLoader(byteLength);
  return {
    write: (chunk) => loader.write(chunk),
    bytes: () => new Uint8Array(memory.buffer as ArrayBuffer, loader.pointer, loader.written),
    finish: () => toLoadedModel(loader.finish()),
    discard: () => loader.free(),
  };
}

function toLoadedModel(model: EmbeddingModel): LoadedModel {
  return {
    embed: (texts) => taken(() => model.embed([...texts])),
    embedTokens: (sequences) => {
      const ids = Uint32Array.from(sequences.flat());
      const lengths = Uint32Array.from(sequences, (sequence) => sequence.length);
      return taken(() => model.embedTokens(ids, lengths));
    },
  };
}

/** Codes by which the module says that the input, not the model, is at fault. */
const inputFaults = new Set(['input_empty', 'token_out_of_range']);

function taken(compute: () => Embeddings): ModuleEmbeddings {
  let embeddings: Embeddings;
  try {
    embeddings = compute();
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && inputFaults.has(String(thrown.code))) {
      throw new ApiError('invalid_request', thrown.message, { parameter: 'input', cause: thrown });
    }
    throw thrown;
  }
  const { vectors, tokenCounts, truncated } = embeddings;
  embeddings.free();
  return { vectors, tokenCounts, truncated };
}
