/** A benchmark of two engines means something only where both computed the same thing. */
import type { Row } from './report.ts';

/** Cosine below which two int8 forms of one model are not the same model. Each is about 0.993 or closer to float. */
const COSINE_LEAST = 0.97;

/** The least cosine between any engine's embedding of a workload and the first engine's. Throws where it is too low. */
export function leastAgreement(rows: readonly Row[]): number {
  const full = rows.filter((row) => row.form !== 'static');
  const cosines = full.map((row) => {
    const first = full.find((other) => other.workload === row.workload) ?? row;
    const cosine = dot(row.cost.embedding, first.cost.embedding);
    if (cosine >= COSINE_LEAST) return cosine;
    const [one, other] = [row, first].map(({ engine, host }) => `${engine} in ${host}`);
    throw new Error(`${one} and ${other} disagree on ${row.workload}: their cosine is ${cosine}`);
  });
  return Math.min(1, ...cosines);
}

/** Of vectors of length 1, the cosine. */
function dot(left: readonly number[], right: readonly number[]): number {
  if (left.length !== right.length) return Number.NaN;
  return left.reduce((sum, value, index) => sum + value * (right[index] ?? Number.NaN), 0);
}
