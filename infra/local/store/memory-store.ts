/**
 * Keys and values in memory, with expiry and a bound: where there is no room, the entry unused for longest goes. Keys
 * and values are bytes; a key is held as a string with one character a byte. Time is passed in.
 */

interface Entry {
  readonly value: Uint8Array;
  /** Milliseconds since the epoch; null: does not expire. */
  readonly expiresAt: number | null;
}

/** What an entry costs beside its own bytes: an estimate, so that many tiny ones are bounded too. */
export const entryOverheadBytes = 128;

/** A bounded store of bytes by key. */
export class MemoryStore {
  // A Map keeps insertion order; a used entry is taken out and put back, so the first one is the least recently used.
  readonly #entries = new Map<string, Entry>();
  readonly #bytesMax: number;
  #bytes = 0;
  #evictions = 0;

  /** `bytesMax`: what keys, values and their overhead may take together. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes in use, overhead included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Entries that had to go for want of room, since the start. */
  get evictions(): number {
    return this.#evictions;
  }

  /** The value under `key`, or null. Makes it the most recently used. */
  get(key: string, now: number): Uint8Array | null {
    const entry = this.#live(key, now);
    if (entry === null) return null;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** Whether there is a value under `key`. Does not count as a use. */
  has(key: string, now: number): boolean {
    return this.#live(key, now) !== null;
  }

  /** Stores `value`. Returns false, and keeps what was there, where it alone exceeds the bound. */
  set(key: string, value: Uint8Array, expiresAt: number | null, now: number): boolean {
    const cost = costOf(key, value);
    if (cost > this.#bytesMax) return false;
    this.delete(key, now);
    this.#entries.set(key, { value, expiresAt });
    this.#bytes += cost;
    this.#makeRoom();
    return true;
  }

  /** Removes `key`; whether it was there. */
  delete(key: string, now: number): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#drop(key, entry);
    return entry.expiresAt === null || entry.expiresAt > now;
  }

  /** When `key` expires: null where never, undefined where there is no such key. */
  expiryOf(key: string, now: number): number | null | undefined {
    return this.#live(key, now)?.expiresAt;
  }

  /** Changes when `key` expires; whether it was there. A moment that has passed removes it. */
  expireAt(key: string, expiresAt: number | null, now: number): boolean {
    const entry = this.#live(key, now);
    if (entry === null) return false;
    if (expiresAt !== null && expiresAt <= now) this.#drop(key, entry);
    else this.#entries.set(key, { ...entry, expiresAt });
    return true;
  }

  /** How many live entries there are. Looks at each one. */
  count(now: number): number {
    for (const [key, entry] of this.#entries) {
      if (entry.expiresAt !== null && entry.expiresAt <= now) this.#drop(key, entry);
    }
    return this.#entries.size;
  }

  /** Removes everything. */
  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  #live(key: string, now: number): Entry | null {
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    if (entry.expiresAt === null || entry.expiresAt > now) return entry;
    this.#drop(key, entry);
    return null;
  }

  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= costOf(key, entry.value);
  }

  #makeRoom(): void {
    for (const [key, entry] of this.#entries) {
      if (this.#bytes <= this.#bytesMax) return;
      this.#drop(key, entry);
      this.#evictions += 1;
    }
  }
}

function costOf(key: string, value: Uint8Array): number {
  return key.length + value.byteLength + entryOverheadBytes;
}
