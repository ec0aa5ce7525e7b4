import { expect, it } from 'vitest';
import { entryOverheadBytes, MemoryStore } from './memory-store.ts';

const bytes = (length: number) => new Uint8Array(length);
/** What an entry with a key of one character and a value of `length` bytes costs. */
const costOf = (length: number) => 1 + length + entryOverheadBytes;

it('drops the entry unused for longest where there is no room', () => {
  const store = new MemoryStore(3 * costOf(10));
  for (const key of ['a', 'b', 'c']) store.set(key, bytes(10), null, 0);
  store.get('a', 0);
  store.set('d', bytes(10), null, 0);
  expect(['a', 'b', 'c', 'd'].filter((key) => store.has(key, 0))).toEqual(['a', 'c', 'd']);
  expect(store.evictions).toBe(1);
  expect(store.bytes).toBe(3 * costOf(10));
});

it('refuses a value that alone has no room, and keeps what it has', () => {
  const store = new MemoryStore(costOf(10));
  expect(store.set('a', bytes(10), null, 0)).toBe(true);
  expect(store.set('a', bytes(11), null, 0)).toBe(false);
  expect(store.get('a', 0)).toEqual(bytes(10));
});

it('forgets an entry from the millisecond on at which it expires', () => {
  const store = new MemoryStore(1_000);
  store.set('a', bytes(1), 100, 0);
  expect(store.has('a', 99)).toBe(true);
  expect(store.has('a', 100)).toBe(false);
  expect(store.bytes).toBe(0);
});

/** The store, written as plainly as can be: a list in order of use. */
class Twin {
  entries: { key: string; length: number; expiresAt: number | null }[] = [];
  readonly bytesMax: number;
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }
  find(key: string, now: number) {
    this.entries = this.entries.filter(
      (entry) => entry.key !== key || entry.expiresAt === null || entry.expiresAt > now,
    );
    return this.entries.find((entry) => entry.key === key);
  }
  get(key: string, now: number): number | null {
    const entry = this.find(key, now);
    if (entry === undefined) return null;
    this.entries = [...this.entries.filter((other) => other !== entry), entry];
    return entry.length;
  }
  set(key: string, length: number, expiresAt: number | null): void {
    this.entries = [...this.entries.filter((other) => other.key !== key), { key, length, expiresAt }];
    while (this.bytes() > this.bytesMax) this.entries.shift();
  }
  delete(key: string, now: number): boolean {
    const found = this.find(key, now) !== undefined;
    this.entries = this.entries.filter((other) => other.key !== key);
    return found;
  }
  bytes(): number {
    return this.entries.reduce((sum, { length }) => sum + costOf(length), 0);
  }
}

it('does as its plain twin does, over 20,000 random commands', () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  console.log(`seed ${seed}`);
  let state = seed;
  const below = (limit: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >> 8) % limit;
  };
  const store = new MemoryStore(2_000);
  const twin = new Twin(2_000);
  let now = 0;
  for (let count = 0; count < 20_000; count += 1) {
    now += below(3);
    const key = String.fromCharCode(97 + below(20));
    const choice = below(10);
    if (choice < 5) expect(store.get(key, now)?.byteLength ?? null).toBe(twin.get(key, now));
    else if (choice < 9) {
      const [length, expiresAt] = [below(300), below(2) === 0 ? null : now + 1 + below(50)];
      store.set(key, bytes(length), expiresAt, now);
      twin.set(key, length, expiresAt);
    } else expect(store.delete(key, now)).toBe(twin.delete(key, now));
    expect(store.bytes).toBe(twin.bytes());
  }
});
