import type { CacheExports } from './dist/cache.d.ts';
import { startGoModule } from './instance.ts';

/** The bounds of a cache. */
export interface CacheLimits {
  /** The most that all entries may weigh together, in the caller's unit (usually bytes): 1 to 2^52. */
  readonly weightMax: number;
  /** The most entries: 1 to 65,536. The index takes about 110 bytes for each at once. */
  readonly entriesMax: number;
  /** Varies the hash, so that nobody can prepare keys that all collide. A random 32-bit number; 0 where left out. */
  readonly seed?: number;
}

/** Where an entry went, and what was given up for it. */
export interface CacheInsertion {
  /** The entry's slot, or -1 where it cannot be held: heavier than the whole cache, or a time to live under 1 ms. */
  readonly slot: number;
  /** Slots given up, expired ones first. Release these before storing at `slot`, which may be one of them. */
  readonly evicted: readonly number[];
}

/** Counters since the index was made; `entries` and `weight` are levels. */
export interface CacheStatistics {
  readonly hits: number;
  readonly misses: number;
  readonly insertions: number;
  readonly refusals: number;
  readonly evictions: number;
  readonly expirations: number;
  readonly removals: number;
  readonly entries: number;
  readonly weight: number;
}

const none: readonly number[] = [];
const encoder = new TextEncoder();

/**
 * The index of a bounded cache (least recently used, with a time to live per entry), computed by `dist/cache.wasm`.
 * Values stay with the caller, in an array of its own under the slot numbers that the index hands out.
 *
 * Keys are bytes, or text for its UTF-8 bytes; at most 64, and compared whole. Hash what is longer.
 */
export class CacheIndex {
  readonly #exports: CacheExports;
  // Kept, since both a view and its buffer cost far more to make than the call; made again when the memory has grown.
  #key: Uint8Array;

  private constructor(exports: CacheExports) {
    this.#exports = exports;
    this.#key = keyView(exports);
  }

  /** Makes an empty index. Throws a RangeError where a limit is out of range. */
  static instantiate(module: WebAssembly.Module, limits: CacheLimits): CacheIndex {
    const exports = startGoModule<CacheExports>(module);
    const refusal = exports.configure(limits.entriesMax, limits.weightMax, limits.seed ?? 0);
    if (refusal !== 0) {
      const [name, range] = refusal === 1 ? ['entriesMax', '1 to 65536'] : ['weightMax', '1 to 2^52'];
      throw new RangeError(`the cache's ${name} must be ${range}`);
    }
    return new CacheIndex(exports);
  }

  /** The slot of `key`, which then counts as just used, or -1 where it is not held or its time is over. */
  lookup(key: string | Uint8Array, nowMs: number): number {
    return this.#exports.lookup(this.#writeKey(key), nowMs);
  }

  /** Stores `key` with a weight (0 or more) for `ttlMs`. A key that is held keeps its slot. */
  insert(key: string | Uint8Array, weight: number, ttlMs: number, nowMs: number): CacheInsertion {
    const slot = this.#exports.insert(this.#writeKey(key), weight, ttlMs, nowMs);
    return { slot, evicted: this.#evicted(this.#exports.evictedCount()) };
  }

  /** Gives up `key`; the slot that it had, or -1 where it was not held. */
  remove(key: string | Uint8Array): number {
    return this.#exports.remove(this.#writeKey(key));
  }

  /** Gives up all entries whose time is over; their slots. An insertion does the same by itself. */
  sweep(nowMs: number): readonly number[] {
    return this.#evicted(this.#exports.sweep(nowMs));
  }

  statistics(): CacheStatistics {
    const exports = this.#exports;
    return {
      hits: exports.hits(),
      misses: exports.misses(),
      insertions: exports.insertions(),
      refusals: exports.refusals(),
      evictions: exports.evictions(),
      expirations: exports.expirations(),
      removals: exports.removals(),
      entries: exports.entries(),
      weight: exports.weight(),
    };
  }

  /** The instance's memory in bytes. */
  memoryBytes(): number {
    return this.#exports.memory.buffer.byteLength;
  }

  #evicted(count: number): readonly number[] {
    if (count === 0) return none;
    return Array.from(new Int32Array(this.#exports.memory.buffer, this.#exports.evictedAddress(), count));
  }

  /** Copies the key into the instance and returns its length in bytes. */
  #writeKey(key: string | Uint8Array): number {
    if (this.#key.buffer !== this.#exports.memory.buffer) this.#key = keyView(this.#exports);
    if (typeof key === 'string') {
      // For a key of 64 characters this measured faster than a loop over them.
      const { read, written } = encoder.encodeInto(key, this.#key);
      if (read === key.length) return written;
    } else if (key.length <= this.#key.length) {
      this.#key.set(key);
      return key.length;
    }
    throw new RangeError(`a cache key has at most ${this.#key.length} bytes, and this one is longer`);
  }
}

function keyView(exports: CacheExports): Uint8Array {
  return new Uint8Array(exports.memory.buffer, exports.keyAddress(), exports.keyBytesMax());
}
