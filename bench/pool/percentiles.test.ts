import { expect, test } from 'vitest';
import { percentile, slope } from './percentiles.ts';

test.each([
  [[3, 1, 2], 0.5, 2],
  [[1, 2, 3, 4], 0.5, 2],
  [[1, 2, 3, 4], 0.99, 4],
  [[1, 2, 3, 4], 0, 1],
  [[7], 0.9, 7],
])('of %j the share %f lies at or below %f', (values, share, expected) => {
  expect(percentile(values, share)).toBe(expected);
});

test('an empty list has no percentile', () => {
  expect(percentile([], 0.5)).toBeNaN();
});

test('the slope of a line is its own, and of one point it is none', () => {
  expect(slope([0, 1, 2, 3], [5, 7, 9, 11])).toBeCloseTo(2);
  expect(slope([0, 1, 2], [4, 4, 4])).toBe(0);
  expect(slope([1], [1])).toBe(0);
});
