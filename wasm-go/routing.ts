import type { RoutingExports } from './dist/routing.d.ts';
import { startGoModule } from './instance.ts';

/** What the router is told of an upstream. */
export interface RouterUpstream {
  /** Its share of the calls relative to the others': 0 (out of service) to 1,000,000. */
  readonly weight: number;
}

/** What the router knows of an upstream. */
export interface RouterUpstreamState {
  /** Calls that have begun and not ended. */
  readonly inFlight: number;
  /** Moving average over the calls that succeeded; 0 while there was none. */
  readonly latencyMs: number;
  /** Calls that failed since the last that succeeded. */
  readonly failures: number;
  /** The time before which it is left out; a past one, or 0, where it is not. */
  readonly ejectedUntilMs: number;
}

/**
 * Chooses the upstream of a call, computed by `dist/routing.wasm`: of two drawn by weight the less loaded one. Five
 * failures in a row leave an upstream out for 10 s, then twice as long at each further failure, 5 minutes at most.
 * Upstreams are named by their index in the list given to `setUpstreams`.
 */
export class Router {
  readonly #exports: RoutingExports;
  #count = 0;

  private constructor(exports: RoutingExports) {
    this.#exports = exports;
  }

  /** Makes a router without upstreams. */
  static instantiate(module: WebAssembly.Module): Router {
    return new Router(startGoModule<RoutingExports>(module));
  }

  /** Replaces all upstreams (256 at most) and forgets what was known. Throws a RangeError, and has none, on bad input. */
  setUpstreams(upstreams: readonly RouterUpstream[]): void {
    this.#count = 0;
    if (this.#exports.reset(upstreams.length) !== 0) {
      throw new RangeError(`a router has at most 256 upstreams, not ${upstreams.length}`);
    }
    this.#count = upstreams.length;
    upstreams.forEach(({ weight }, index) => {
      this.setWeight(index, weight);
    });
  }

  /** Changes one upstream's weight and keeps what is known of it. */
  setWeight(index: number, weight: number): void {
    this.#check(index);
    if (this.#exports.setWeight(index, weight) !== 0) {
      throw new RangeError(`an upstream's weight must be 0 to 1000000, not ${weight}`);
    }
  }

  /** The upstream for a call that begins now, or -1 where none is in service. The random numbers are in [0, 1). */
  choose(nowMs: number, randomA: number, randomB: number): number {
    return this.#exports.choose(nowMs, randomA, randomB);
  }

  /** Counts a call that begins. Each must be followed by one `end`, whatever becomes of the call. */
  begin(index: number, nowMs: number): void {
    this.#check(index);
    this.#exports.begin(index, nowMs);
  }

  /** Counts the end of a call. A failure's latency does not enter the average. */
  end(index: number, nowMs: number, latencyMs: number, succeeded: boolean): void {
    this.#check(index);
    this.#exports.end(index, nowMs, latencyMs, succeeded ? 1 : 0);
  }

  /** When the first upstream of those left out is in service again, or -1 where none is left out. */
  nextInServiceMs(nowMs: number): number {
    return this.#exports.nextInServiceMs(nowMs);
  }

  upstream(index: number): RouterUpstreamState {
    this.#check(index);
    return {
      inFlight: this.#exports.inFlight(index),
      latencyMs: this.#exports.latencyMs(index),
      failures: this.#exports.failures(index),
      ejectedUntilMs: this.#exports.ejectedUntilMs(index),
    };
  }

  /** The instance's memory in bytes. */
  memoryBytes(): number {
    return this.#exports.memory.buffer.byteLength;
  }

  #check(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.#count) {
      throw new RangeError(`there is no upstream ${index}; there are ${this.#count}`);
    }
  }
}
