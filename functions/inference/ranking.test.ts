import { expect, test } from 'vitest';
import type { EmbeddingBatch } from './engine.ts';
import { rankAgainstFirst, similarity } from './ranking.ts';

function batch(rows: number[][]): EmbeddingBatch {
  const dimensions = rows[0]?.length ?? 0;
  return { vectors: new Float32Array(rows.flat()), dimensions, count: rows.length, tokens: 0, truncated: [] };
}

test('similarity is the dot product, kept within -1 and 1', () => {
  const rows = batch([
    [1, 0],
    [0.6, 0.8],
    [-1, 0],
    [1.0001, 0],
  ]);
  expect(similarity(rows, 0, 1)).toBeCloseTo(0.6, 6);
  expect(similarity(rows, 1, 0)).toBe(similarity(rows, 0, 1));
  expect(similarity(rows, 0, 2)).toBe(-1);
  expect(similarity(rows, 3, 3)).toBe(1);
});

test('documents come best first, equal ones in the order of the request', () => {
  const rows = batch([
    [1, 0],
    [0, 1],
    [1, 0],
    [0.6, 0.8],
    [1, 0],
  ]);
  expect(rankAgainstFirst(rows, 10).map(({ index }) => index)).toEqual([1, 3, 2, 0]);
});

test('only the best are given, as many as asked for', () => {
  const rows = batch([[1], [0.1], [0.3], [0.2]]);
  expect(rankAgainstFirst(rows, 2).map(({ index }) => index)).toEqual([1, 2]);
  expect(rankAgainstFirst(batch([[1]]), 5)).toEqual([]);
});
