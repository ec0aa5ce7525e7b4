/** Rank correlation: do two measures order the same things the same way? */

/** Spearman's coefficient: Pearson's, of the ranks. Equal values share the mean of their ranks. */
export function spearman(left: readonly number[], right: readonly number[]): number {
  if (left.length !== right.length) throw new Error(`${left.length} values against ${right.length}`);
  return pearson(ranks(left), ranks(right));
}

function ranks(values: readonly number[]): number[] {
  const order = values.map((value, index) => ({ value, index })).sort((a, b) => a.value - b.value);
  const result = new Array<number>(values.length).fill(0);
  for (let first = 0; first < order.length; ) {
    let next = first + 1;
    while (next < order.length && order[next]?.value === order[first]?.value) next++;
    for (const { index } of order.slice(first, next)) result[index] = (first + next - 1) / 2;
    first = next;
  }
  return result;
}

function pearson(left: readonly number[], right: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [leftMean, rightMean] = [mean(left), mean(right)];
  let [both, leftSquare, rightSquare] = [0, 0, 0];
  for (const [index, value] of left.entries()) {
    const [a, b] = [value - leftMean, (right[index] ?? Number.NaN) - rightMean];
    both += a * b;
    leftSquare += a * a;
    rightSquare += b * b;
  }
  return both / Math.sqrt(leftSquare * rightSquare);
}
