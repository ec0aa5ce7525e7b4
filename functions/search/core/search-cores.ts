/**
 * Searches inside the isolate's one module. A trap of any of them costs all their memory, so each keeps the events that
 * made it and is made again, bit for bit, in the fresh instance.
 */
import { type LiveInstance, WasmTrapped } from '../../wasm/instance.ts';
import type { SearchCore, SearchEvent, SearchModule, SearchOptions } from './search-module.ts';

/** A search that outlives its module's instance. */
export class LastingCore {
  readonly #live: LiveInstance<SearchModule>;
  readonly #options: SearchOptions;
  readonly #events: SearchEvent[] = [];
  #made: { readonly core: SearchCore; readonly generation: number } | null = null;

  constructor(live: LiveInstance<SearchModule>, options: SearchOptions) {
    this.#live = live;
    this.#options = options;
  }

  /** Applies an event, and remembers it where it was accepted. @throws SearchRefused */
  apply(event: SearchEvent): void {
    this.#run((core) => core.apply(event));
    this.#events.push(event);
  }

  /** Trials to carry out: an event too, but remembered only by `accept`, since nobody has agreed to it yet. */
  ask(count: number, now: number) {
    return this.#run((core) => core.ask(count, now));
  }

  /** Remembers that `ask(count, now)` was called and its trials are carried out. */
  accept(count: number, now: number): void {
    this.#events.push({ event: 'ask', count, now });
  }

  /** Goes back to the last event that was remembered. */
  forget(): void {
    this.dispose();
  }

  /** Reads from the search. */
  read<Result>(look: (core: SearchCore) => Result): Result {
    return this.#run(look);
  }

  /** Gives the module's memory back; the next use takes it again. */
  dispose(): void {
    const made = this.#made;
    this.#made = null;
    if (made !== null && made.generation === this.#live.generation) made.core.free();
  }

  /** Runs `work`, a second time in a fresh instance where the module trapped. */
  #run<Result>(work: (core: SearchCore) => Result): Result {
    try {
      return this.#live.run((module, generation) => work(this.#core(module, generation)));
    } catch (thrown) {
      if (!(thrown instanceof WasmTrapped)) throw thrown;
      return this.#live.run((module, generation) => work(this.#core(module, generation)));
    }
  }

  #core(module: SearchModule, generation: number): SearchCore {
    if (this.#made?.generation === generation) return this.#made.core;
    const core = module.begin(this.#options);
    for (const event of this.#events) core.apply(event);
    this.#made = { core, generation };
    return core;
  }
}
