import { expect, test } from 'vitest';
import { spearman } from './spearman.ts';

test('values in the same order correlate fully, whatever their distances', () => {
  expect(spearman([1, 2, 3, 4], [10, 11, 500, 501])).toBeCloseTo(1, 12);
  expect(spearman([1, 2, 3, 4], [9, 7, 5, -100])).toBeCloseTo(-1, 12);
});

test('a known example comes out: 1 − 6·Σd²/(n·(n²−1))', () => {
  // Ranks differ by 1, 1, 2, 1, 1 (sum of squares 8): 1 − 48/120.
  expect(spearman([1, 2, 3, 4, 5], [2, 1, 5, 3, 4])).toBeCloseTo(1 - (6 * 8) / 120, 12);
});

test('equal values share their ranks', () => {
  expect(spearman([1, 1, 2, 2], [1, 1, 2, 2])).toBeCloseTo(1, 12);
  expect(spearman([1, 1, 2, 3], [3, 2, 1, 0])).toBeCloseTo(-0.948683, 5);
});
