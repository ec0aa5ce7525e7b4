/**
 * The models of this isolate: weights streamed into the Rust module's memory once, verified by hash where they lie, and
 * computed there. After a trap the module is fresh and empty, and the models are loaded again at their next use.
 */
import { sha256 } from '../digest.ts';
import { ApiError } from '../errors.ts';
import type { Background, Platform } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { LiveInstance } from '../wasm/instance.ts';
import { load, type TrapListener } from '../wasm/loader.ts';
import { type CatalogueEntry, catalogue } from './catalogue.ts';
import {
  countOf,
  type EmbeddingBatch,
  type EmbeddingEngine,
  type EmbeddingInputs,
  type ModelDescription,
} from './engine.ts';
import { type InferenceModule, type LoadedModel, type ModelLoader, startInference } from './inference-module.ts';

/** Inputs that are computed before other requests get a turn. */
const inputsPerTurn = 16;
/** Longest time that a model's loading may take before another request may try, in milliseconds. */
const loadTimeoutMs = 60_000;

interface Loaded {
  readonly generation: number;
  readonly model: LoadedModel;
}

interface Loading {
  readonly promise: Promise<void>;
  readonly until: number;
}

interface EnginePorts {
  readonly platform: Platform;
  readonly metrics: Metrics;
  readonly onTrap: TrapListener;
}

/** Loads and runs the models of the catalogue; one an isolate. */
export class WasmEmbeddingEngine implements EmbeddingEngine {
  readonly models: readonly CatalogueEntry[] = catalogue;
  readonly #ports: EnginePorts;
  readonly #loaded = new Map<string, Loaded>();
  readonly #loading = new Map<string, Loading>();
  #starting: Promise<LiveInstance<InferenceModule>> | null = null;
  #live: LiveInstance<InferenceModule> | null = null;

  constructor(ports: EnginePorts) {
    this.#ports = ports;
  }

  find(name: string): CatalogueEntry | null {
    return this.models.find((model) => model.name === name || model.aliases.includes(name)) ?? null;
  }

  async ready(model: ModelDescription, background: Background): Promise<void> {
    const { clock } = this.#ports.platform;
    if (this.#usable(model.name) !== null) return;
    const loading = this.#loading.get(model.name);
    if (loading !== undefined && loading.until > clock.now()) return loading.promise;
    const promise = this.#load(model.name).finally(() => this.#loading.delete(model.name));
    this.#loading.set(model.name, { promise, until: clock.now() + loadTimeoutMs });
    background.run(promise.catch(() => {}));
    return promise;
  }

  async embed(model: ModelDescription, inputs: EmbeddingInputs, background: Background): Promise<EmbeddingBatch> {
    const count = countOf(inputs);
    const vectors = new Float32Array(count * model.dimensions);
    const truncated: number[] = [];
    let tokens = 0;
    for (let start = 0; start < count; start += inputsPerTurn) {
      if (start > 0) await new Promise((resolve) => setTimeout(resolve, 0));
      await this.ready(model, background);
      const part = this.#embedPart(model, inputs, start);
      vectors.set(part.vectors, start * model.dimensions);
      truncated.push(...flagged(part.truncated).map((index) => start + index));
      tokens += part.tokenCounts.reduce((sum, tokenCount) => sum + tokenCount, 0);
    }
    return { vectors, dimensions: model.dimensions, count, tokens, truncated };
  }

  #embedPart(model: ModelDescription, inputs: EmbeddingInputs, start: number) {
    const loaded = this.#usable(model.name);
    if (loaded === null || this.#live === null) throw new ApiError('model_unavailable');
    return this.#live.run(() => {
      if (inputs.kind === 'texts') return loaded.embed(inputs.texts.slice(start, start + inputsPerTurn));
      return loaded.embedTokens(inputs.sequences.slice(start, start + inputsPerTurn));
    });
  }

  /** The model where it is loaded in the living instance; null where it is not, or went with a trap. */
  #usable(name: string): LoadedModel | null {
    const loaded = this.#loaded.get(name);
    return loaded !== undefined && loaded.generation === this.#live?.generation ? loaded.model : null;
  }

  async #load(name: string): Promise<void> {
    const { metrics, platform } = this.#ports;
    const entry = this.find(name);
    if (entry === null) throw new ApiError('model_not_found');
    try {
      await this.#loadEntry(entry);
      metrics.modelLoads.inc({ model: name, result: 'ok' });
    } catch (cause) {
      metrics.modelLoads.inc({ model: name, result: 'failed' });
      platform.log.write('error', 'a model could not be loaded', { model: name, reason: String(cause) });
      throw new ApiError('model_unavailable', `The model ${name} cannot be loaded.`, { cause });
    }
  }

  async #loadEntry(entry: CatalogueEntry): Promise<void> {
    const live = await this.#instance();
    const { loader, generation } = live.run((module, current) => ({
      loader: module.openLoader(entry.bytes),
      generation: current,
    }));
    // The instance may be replaced while chunks are on their way; the loader then belongs to memory that is gone.
    const onSame: OnSame = (work) =>
      live.run((_module, current) => {
        if (current !== generation) throw new Error('the module was replaced while the weights came');
        return work();
      });
    try {
      await fill(onSame, loader, await this.#open(entry));
      await verify(onSame, loader, entry);
      this.#loaded.set(entry.name, { generation, model: onSame(() => loader.finish()) });
    } catch (thrown) {
      if (live.generation === generation) live.run(() => loader.discard());
      throw thrown;
    }
  }

  /** The one live instance. Two models that load at once must share it, so it is the promise that is kept. */
  #instance(): Promise<LiveInstance<InferenceModule>> {
    this.#starting ??= this.#start().catch((thrown: unknown) => {
      this.#starting = null;
      throw thrown;
    });
    return this.#starting;
  }

  async #start(): Promise<LiveInstance<InferenceModule>> {
    const { platform, onTrap } = this.#ports;
    this.#live = await load(platform.wasm, 'inference', startInference, (trap) => {
      this.#loaded.clear();
      onTrap(trap);
    });
    return this.#live;
  }

  async #open({ source }: CatalogueEntry): Promise<ReadableStream<Uint8Array>> {
    const { platform } = this.#ports;
    if (source.kind === 'bundle') return new Blob([(await platform.staticModel()) as Uint8Array<ArrayBuffer>]).stream();
    const stream = await platform.objects.open(source.name);
    if (stream === null) throw new Error(`${source.name} is not in the store: run "npm run models", or upload it`);
    return stream;
  }
}

/** The indices at which `flags` is set. */
const flagged = (flags: Uint8Array): number[] => [...flags.keys()].filter((index) => flags[index] !== 0);

type OnSame = <Result>(work: () => Result) => Result;

/** Streams the weights into the module's memory, chunk by chunk as they come. */
async function fill(onSame: OnSame, loader: ModelLoader, stream: ReadableStream<Uint8Array>): Promise<void> {
  const reader = stream.getReader();
  try {
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      const { value } = step;
      onSame(() => loader.write(value));
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Compares the hash of what lies in memory with the catalogue's. */
async function verify(onSame: OnSame, loader: ModelLoader, entry: CatalogueEntry): Promise<void> {
  const found = await sha256(onSame(() => loader.bytes()));
  if (found !== entry.sha256) throw new Error(`the weights' SHA-256 is ${found}, and should be ${entry.sha256}`);
}
