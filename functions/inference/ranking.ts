/** Order by meaning: cosine similarity of unit vectors, which is their dot product. */
import type { EmbeddingBatch } from './engine.ts';
import { vectorOf } from './engine.ts';

/** Cosine similarity of rows `a` and `b`, in [-1, 1]. */
export function similarity(batch: EmbeddingBatch, a: number, b: number): number {
  const [left, right] = [vectorOf(batch, a), vectorOf(batch, b)];
  let sum = 0;
  for (let index = 0; index < left.length; index += 1) sum += (left[index] ?? 0) * (right[index] ?? 0);
  return Math.max(-1, Math.min(1, sum));
}

/** One document's place in an order. */
export interface Ranked {
  readonly index: number;
  readonly score: number;
}

/** Rows 1… of `batch` by their similarity to row 0, best first; equal scores keep the order of the request. */
export function rankAgainstFirst(batch: EmbeddingBatch, limit: number): Ranked[] {
  const ranked = Array.from({ length: batch.count - 1 }, (_, index) => ({
    index,
    score: similarity(batch, 0, index + 1),
  }));
  return ranked.sort((a, b) => b.score - a.score || a.index - b.index).slice(0, limit);
}
