/** How good the best answer is after so many calls: each engine on each problem, over many seeds. */
import { chanceOf } from './chance.ts';
import type { Engine } from './engine.ts';
import type { Problem } from './problems.ts';

/** Calls after which the best answer is looked at. */
export const budgets = [8, 16, 32, 64, 128, 256, 512] as const;

/** A mean over seeds and half the width of its 95 % confidence interval. */
export interface Estimate {
  readonly mean: number;
  readonly halfWidth: number;
}

/** The curve of one engine on one problem: an estimate for each budget. */
export interface Curve {
  readonly engine: string;
  readonly problem: string;
  readonly points: readonly Estimate[];
}

/** Mean and interval, by the normal distribution. */
export function estimate(values: readonly number[]): Estimate {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, halfWidth: 1.96 * Math.sqrt(squares / (values.length - 1) / values.length) };
}

/** What the answer with the best score so far is worth, at each budget up to `budgetMax`. */
async function search<Answer>(
  engine: Engine,
  problem: Problem<Answer>,
  seed: number,
  budgetMax: number,
): Promise<number[]> {
  const answers: Answer[] = [];
  const best = { score: -1, worth: 0 };
  const worths: number[] = [];
  await engine.begin(problem.arms, seed);
  let score: number | null = null;
  for (let call = 0; call < budgetMax; call++) {
    const { parent, arm } = await engine.next(score);
    const chance = chanceOf(seed, call);
    const answer = problem.propose(seed, parent === null ? null : (answers[parent] ?? null), arm, chance);
    answers.push(answer);
    const worth = problem.worth(seed, answer);
    score = Math.min(1, Math.max(0, worth + problem.noise * chance.normal()));
    if (score > best.score) Object.assign(best, { score, worth });
    if (budgets.some((budget) => budget === call + 1)) worths.push(best.worth);
  }
  return worths;
}

/** The curve of an engine on a problem. */
export async function curve(
  engine: Engine,
  problem: Problem<unknown>,
  seeds: number,
  budgetMax: number,
): Promise<Curve> {
  const runs: number[][] = [];
  for (let seed = 0; seed < seeds; seed++) runs.push(await search(engine, problem, seed, budgetMax));
  const looked = budgets.filter((budget) => budget <= budgetMax);
  const points = looked.map((_, index) => estimate(runs.map((run) => run[index] ?? Number.NaN)));
  return { engine: engine.name, problem: problem.name, points };
}
