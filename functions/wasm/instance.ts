/**
 * A WebAssembly instance that survives its own death. A trap leaves an instance in an unknown state (its stack pointer,
 * its half-made changes), so it is never called again: it is dropped, and the next call gets a fresh one. The isolate
 * and its other requests go on.
 */

/** The module trapped during a call. The call failed; a fresh instance takes the next one. */
export class WasmTrapped extends Error {
  override readonly name = 'WasmTrapped';
  /** The module's name. */
  readonly module: string;
  /** The generation of the instance that is gone. */
  readonly generation: number;

  constructor(module: string, generation: number, cause: unknown) {
    super(`the module ${module} trapped: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.module = module;
    this.generation = generation;
  }
}

/** What a live instance is made with. */
export interface LiveInstanceOptions<Instance> {
  /** The module's name, for errors and counters. */
  readonly name: string;
  /** Makes a fresh instance. Called at the first use and after each trap. */
  readonly start: () => Instance;
  /** Told of each trap before the call fails, to count and log it. Must not throw. */
  readonly onTrap?: ((trap: WasmTrapped) => void) | undefined;
}

/** Holds one instance at a time and replaces it after a trap. */
export class LiveInstance<Instance> {
  readonly #options: LiveInstanceOptions<Instance>;
  #current: { readonly instance: Instance } | null = null;
  #generation = 0;
  #traps = 0;

  constructor(options: LiveInstanceOptions<Instance>) {
    this.#options = options;
  }

  /**
   * The number of the current instance: 0 before the first, then 1, and one more after each trap. Whoever keeps state
   * inside the instance (a loaded model, a cache's slots) remembers the generation that it was put into, and puts it in
   * again where the number has changed.
   */
  get generation(): number {
    return this.#generation;
  }

  /** How many instances were lost to a trap. */
  get traps(): number {
    return this.#traps;
  }

  /**
   * Calls `work` with the live instance and its generation. `work` is synchronous and does not keep the instance: after
   * an await it may be another one. Throws WasmTrapped where the module trapped, and what `work` throws else.
   */
  run<Result>(work: (instance: Instance, generation: number) => Result): Result {
    try {
      const { instance } = this.#live();
      return work(instance, this.#generation);
    } catch (thrown) {
      if (!isTrap(thrown)) throw thrown;
      throw this.#discard(thrown);
    }
  }

  #live(): { readonly instance: Instance } {
    if (this.#current === null) {
      this.#generation += 1;
      this.#current = { instance: this.#options.start() };
    }
    return this.#current;
  }

  #discard(cause: unknown): WasmTrapped {
    this.#current = null;
    this.#traps += 1;
    const trap = new WasmTrapped(this.#options.name, this.#generation, cause);
    this.#options.onTrap?.(trap);
    return trap;
  }
}

/**
 * Whether an error means that WebAssembly code stopped in the middle. A stack that overflows inside a module is a
 * RangeError in V8, told from the RangeErrors that loaders throw for bad arguments by its message alone.
 */
export function isTrap(thrown: unknown): boolean {
  if (thrown instanceof WebAssembly.RuntimeError) return true;
  return thrown instanceof RangeError && thrown.message.includes('call stack');
}
