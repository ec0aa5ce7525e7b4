import { beforeAll, describe, expect, test } from 'vitest';
import { goModules } from '../tests/wasm/modules.ts';
import { CacheIndex } from './cache.ts';

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await goModules.compiled('cache');
});

describe('CacheIndex', () => {
  test('a stored key is found in its slot until its time is over', () => {
    const index = CacheIndex.instantiate(module, { weightMax: 100, entriesMax: 4 });
    const { slot, evicted } = index.insert('a', 10, 50, 1_000);
    expect(evicted).toEqual([]);
    expect(index.lookup('a', 1_049)).toBe(slot);
    expect(index.lookup('a', 1_050)).toBe(-1);
  });

  test('a key given as text and as its bytes is the same key', () => {
    const index = CacheIndex.instantiate(module, { weightMax: 100, entriesMax: 4 });
    const { slot } = index.insert('schlüssel/key', 1, 50, 0);
    expect(index.lookup(new TextEncoder().encode('schlüssel/key'), 1)).toBe(slot);
    expect(index.remove(new TextEncoder().encode('schlüssel/key'))).toBe(slot);
    expect(index.lookup('schlüssel/key', 1)).toBe(-1);
  });

  test('a shorter key is not mistaken for the longer one written before it', () => {
    const index = CacheIndex.instantiate(module, { weightMax: 100, entriesMax: 4 });
    index.insert('ab', 1, 50, 0);
    expect(index.lookup('a', 1)).toBe(-1);
    expect(index.lookup('', 1)).toBe(-1);
  });

  test('the least recently used slots are given up for weight, and told', () => {
    const index = CacheIndex.instantiate(module, { weightMax: 100, entriesMax: 9 });
    const slots = ['a', 'b', 'c'].map((key) => index.insert(key, 30, 1_000, 0).slot);
    index.lookup('a', 1);
    expect(index.insert('d', 60, 1_000, 1).evicted).toEqual([slots[1], slots[2]]);
  });

  test('what is heavier than the whole cache is refused', () => {
    const index = CacheIndex.instantiate(module, { weightMax: 100, entriesMax: 4 });
    expect(index.insert('a', 101, 1_000, 0)).toEqual({ slot: -1, evicted: [] });
    expect(index.insert('a', Number.NaN, 1_000, 0)).toEqual({ slot: -1, evicted: [] });
    expect(index.insert('a', 1, Number.NaN, 0)).toEqual({ slot: -1, evicted: [] });
  });

  test('a sweep gives up exactly what is over', () => {
    const index = CacheIndex.instantiate(module, { weightMax: 100, entriesMax: 4 });
    const { slot } = index.insert('short', 1, 10, 0);
    index.insert('long', 1, 20, 0);
    expect(index.sweep(10)).toEqual([slot]);
    expect(index.sweep(10)).toEqual([]);
  });

  test('statistics count each outcome', () => {
    const index = CacheIndex.instantiate(module, { weightMax: 100, entriesMax: 2 });
    index.insert('a', 5, 10, 0);
    index.insert('b', 6, 1_000, 0);
    index.lookup('a', 1);
    index.lookup('nobody', 1);
    index.insert('c', 7, 1_000, 10);
    index.insert('d', 8, 1_000, 10);
    index.insert('e', 900, 1_000, 10);
    index.remove('d');
    expect(index.statistics()).toEqual({
      hits: 1,
      misses: 1,
      insertions: 4,
      refusals: 1,
      evictions: 1,
      expirations: 1,
      removals: 1,
      entries: 1,
      weight: 7,
    });
  });

  test('a key of more than 64 bytes is refused, and leaves nothing behind', () => {
    const index = CacheIndex.instantiate(module, { weightMax: 100, entriesMax: 2 });
    for (const longest of ['k'.repeat(64), 'ü'.repeat(32), '😀'.repeat(16), new Uint8Array(64)]) {
      const { slot } = index.insert(longest, 1, 10, 0);
      expect(index.lookup(longest, 0)).toBe(slot);
    }
    for (const tooLong of ['k'.repeat(65), 'ü'.repeat(33), `${'k'.repeat(63)}ü`, new Uint8Array(65)]) {
      expect(() => index.insert(tooLong, 1, 10, 0)).toThrow(RangeError);
      expect(() => index.lookup(tooLong, 0)).toThrow(RangeError);
      expect(() => index.remove(tooLong)).toThrow(RangeError);
    }
    expect(index.statistics()).toMatchObject({ insertions: 4, misses: 0 });
  });

  test.each([
    [{ entriesMax: 0, weightMax: 1 }, /entriesMax/],
    [{ entriesMax: 65_537, weightMax: 1 }, /entriesMax/],
    [{ entriesMax: 1, weightMax: 0 }, /weightMax/],
    [{ entriesMax: 1, weightMax: 2 ** 53 }, /weightMax/],
  ])('limits out of range are refused: %o', (limits, message) => {
    expect(() => CacheIndex.instantiate(module, limits)).toThrow(message);
  });

  test('the largest index works', () => {
    const index = CacheIndex.instantiate(module, { weightMax: 2 ** 52, entriesMax: 65_536 });
    for (let at = 0; at < 65_536; at++) index.insert(`key-${at}`, 1, 1_000, 0);
    expect(index.statistics()).toMatchObject({ entries: 65_536, evictions: 0 });
    expect(index.insert('one more', 1, 1_000, 0).evicted).toHaveLength(1);
    // All of them at once: the list of what was given up is as long as the index.
    expect(new Set(index.sweep(1_000)).size).toBe(65_536);
  });
});
