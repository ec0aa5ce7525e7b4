/** What is compared: an engine that holds the model and embeds rows of token ids, or texts. */

/** One input of the benchmark: `texts` and the token ids that they have, special tokens included. */
export interface Workload {
  readonly name: string;
  readonly texts: readonly string[];
  readonly ids: readonly (readonly number[])[];
}

/** `ids`: precomputed tokens. `texts`: the tokenizer included. `static`: texts through the static model. */
export type Form = 'ids' | 'texts' | 'static';

/** One order to an engine: embed `workload` `iterations` times, one after the other. */
export interface Order {
  readonly workload: Workload;
  readonly form: Form;
  readonly iterations: number;
}

/** What an order did, to check that contenders computed the same thing. */
export interface Outcome {
  /** The first embedding of the last iteration; empty after no iteration. */
  readonly embedding: readonly number[];
  /** Bytes of WebAssembly memory, or 0 where there is none. */
  readonly memoryBytes: number;
}

/** An engine with its model loaded. */
export interface Engine {
  repeat(order: Order): Promise<Outcome>;
}
