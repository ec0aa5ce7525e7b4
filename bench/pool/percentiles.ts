/** Percentiles of a list of durations. */

/** The value below which `share` of the values lie (nearest rank); NaN of an empty list. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = Math.ceil(share * sorted.length);
  return sorted[Math.min(Math.max(rank, 1), sorted.length) - 1] ?? Number.NaN;
}

/**
 * Least-squares slope of `values` over `times`, in units of a value per unit of time: how fast something grows. 0 where
 * there are fewer than two points.
 */
export function slope(times: readonly number[], values: readonly number[]): number {
  const mean = (list: readonly number[]): number => list.reduce((sum, value) => sum + value, 0) / list.length;
  if (times.length < 2) return 0;
  const timeMean = mean(times);
  const valueMean = mean(values);
  let product = 0;
  let square = 0;
  times.forEach((time, index) => {
    product += (time - timeMean) * ((values[index] ?? 0) - valueMean);
    square += (time - timeMean) ** 2;
  });
  return square === 0 ? 0 : product / square;
}
