/**
 * `npm run bench:analytics`: what a decision costs natively and in WebAssembly, and the regret of the policies against
 * mabwiser's and the optimiser against Optuna's TPE, in the same worlds and in one run.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Experiment, initSync } from '../../wasm-rust/pkg/analytics/treeline_analytics.js';

const HELP = `Usage: npm run bench:analytics -- [options]

  --runs N        runs of each problem (default 20)
  --steps N       decisions of a bandit's run (default 10000)
  --trials N      trials of an optimiser's run (default 200)
  --python PATH   a Python that has bench/analytics/requirements.txt; without it the peers are left out
  --speed         only what a decision costs
`;

const { values: options } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    runs: { type: 'string', default: '20' },
    steps: { type: 'string', default: '10000' },
    trials: { type: 'string', default: '200' },
    python: { type: 'string' },
    speed: { type: 'boolean', default: false },
  },
});

const root = fileURLToPath(new URL('../..', import.meta.url));

interface SpeedRow {
  readonly policy: string;
  readonly arms: number;
  readonly world: string;
  readonly decideNanoseconds: number;
  readonly feedbackNanoseconds: number;
  readonly decideAgainNanoseconds: number;
}

interface RegretRow {
  readonly problem: string;
  readonly policy: string;
  readonly curves: readonly (readonly number[])[];
  readonly decideNanoseconds?: number;
  readonly feedbackNanoseconds?: number;
}

type Rating = 'yesOrNo' | 'stars';

interface OptimiserResult {
  readonly simpleRegret: readonly (readonly number[])[];
  readonly decideNanosecondsMean: number;
  readonly decideNanosecondsMedian: number;
}

function native<Result>(...words: string[]): Result {
  const cargo = ['run', '--quiet', '--release', '--locked', '-p', 'analytics', '--example', 'measure', '--', ...words];
  return JSON.parse(execFileSync('cargo', cargo, { cwd: `${root}wasm-rust`, encoding: 'utf8' })) as Result;
}

function peers<Result>(python: string, ...words: string[]): Result {
  const command = [`${root}bench/analytics/peers.py`, ...words];
  return JSON.parse(execFileSync(python, command, { encoding: 'utf8' })) as Result;
}

const WASM_POLICIES: Record<string, unknown> = {
  thompson: { thompson: { family: 'beta' } },
  thompsonGaussian: { thompson: { family: 'gaussian' } },
  topTwo: { topTwo: { family: 'beta', leader: 0.5 } },
  klUcb: { klUcb: { exploration: 0 } },
};

/** The same loop as `measure speed`, in WebAssembly: each decision is followed by its reward. */
function wasmSpeed(policy: string, arms: number): SpeedRow {
  const experiment = new Experiment(
    JSON.stringify({
      name: 'bench',
      seed: 1,
      policy: WASM_POLICIES[policy],
      rewards: [{ name: 'reward', worst: 0, best: 1, weight: 1 }],
      windowMs: 100,
      graceMs: 100,
      bucketMs: 1000,
    }),
  );
  for (let arm = 0; arm < arms; arm += 1) {
    const name = String(arm).padStart(3, '0');
    experiment.apply(JSON.stringify({ arm: { atMs: 0, arm: name, settings: {}, active: true } }));
  }
  const none = new Float64Array();
  const nanoseconds = { decide: [] as number[], feedback: [] as number[], again: [] as number[] };
  let step = 0;
  const timed = (work: () => void): number => {
    const start = process.hrtime.bigint();
    work();
    return Number(process.hrtime.bigint() - start);
  };
  for (let batch = 0; batch < 80; batch += 1) {
    let [decide, feedback, again] = [0, 0, 0];
    for (let turn = 0; turn < 50; turn += 1) {
      step += 1;
      const id = BigInt(step);
      decide += timed(() => experiment.decide(0n, id, step, '', none).free());
      again += timed(() => experiment.decide(1n, id, step, '', none).free());
      feedback += timed(() => void experiment.feedback(0n, id, step, 0, step % 2));
    }
    nanoseconds.decide.push(decide / 50);
    nanoseconds.feedback.push(feedback / 50);
    nanoseconds.again.push(again / 50);
  }
  experiment.free();
  return {
    policy,
    arms,
    world: 'alike, in WebAssembly',
    decideNanoseconds: median(nanoseconds.decide),
    feedbackNanoseconds: median(nanoseconds.feedback),
    decideAgainNanoseconds: median(nanoseconds.again),
  };
}

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** `mean ± standard error`. */
function summary(values: readonly number[], digits: number): string {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return `${mean.toFixed(digits)} ± ${Math.sqrt(squares / (values.length - 1) / values.length).toFixed(digits)}`;
}

function printSpeed(rows: readonly SpeedRow[]): void {
  console.log(
    '\nMicroseconds, median of batches: a decision after a reward, a decision whose choice is known, a reward',
  );
  for (const row of rows) {
    const times = [row.decideNanoseconds, row.decideAgainNanoseconds, row.feedbackNanoseconds];
    const text = times.map((time) => (time / 1000).toFixed(2).padStart(8)).join('');
    console.log(`  ${row.policy.padEnd(18)}${String(row.arms).padStart(4)} arms ${text}  ${row.world}`);
  }
}

function printRegret(rows: readonly RegretRow[]): void {
  console.log('\nRegret at ten times of a run: mean over the runs, and its standard error at the end');
  for (const row of rows) {
    const means = (row.curves[0] ?? []).map(
      (_, time) => row.curves.reduce((sum, curve) => sum + (curve[time] ?? 0), 0) / row.curves.length,
    );
    const curve = means.map((mean) => mean.toFixed(0).padStart(5)).join('');
    const end = summary(
      row.curves.map((each) => each.at(-1) ?? 0),
      1,
    );
    const cost = (row.decideNanoseconds ?? 0) + (row.feedbackNanoseconds ?? 0);
    const note = cost > 0 ? `  (${(cost / 1000).toFixed(0)} µs a decision with its reward)` : '';
    console.log(`  ${row.problem.padEnd(6)} ${row.policy.padEnd(18)}${curve}   ${end}${note}`);
  }
}

function printOptimiser(name: string, result: OptimiserResult): void {
  const at = (place: number) =>
    summary(
      result.simpleRegret.map((row) => row[place] ?? Number.NaN),
      3,
    );
  const cost = `${(result.decideNanosecondsMedian / 1000).toFixed(0)} µs median, ${(result.decideNanosecondsMean / 1000).toFixed(0)} µs mean`;
  console.log(`  ${name.padEnd(14)} after 50 trials ${at(0)}, at the end ${at(1)}; a decision ${cost}`);
}

function main(): void {
  if (options.help) {
    console.log(HELP);
    return;
  }
  initSync({
    module: new WebAssembly.Module(readFileSync(`${root}wasm-rust/pkg/analytics/treeline_analytics_bg.wasm`)),
  });
  const wasmRows = Object.keys(WASM_POLICIES).flatMap((policy) => [10, 100].map((arms) => wasmSpeed(policy, arms)));
  printSpeed([...native<SpeedRow[]>('speed'), ...wasmRows]);
  if (options.speed) return;
  const { runs, steps, trials, python } = options;
  const regret = native<RegretRow[]>('regret', runs, steps);
  printRegret(python === undefined ? regret : [...regret, ...peers<RegretRow[]>(python, 'regret', runs, steps)]);
  const ours = native<Record<Rating, OptimiserResult>>('optimiser', runs, trials);
  const theirs = python === undefined ? undefined : peers<typeof ours>(python, 'optimiser', runs, trials);
  for (const rating of ['yesOrNo', 'stars'] as const) {
    console.log(`\nSimple regret of the point that is named the best, on a mixed space with ratings of ${rating}`);
    printOptimiser('treeline', ours[rating]);
    if (theirs !== undefined) printOptimiser('optuna TPE', theirs[rating]);
  }
}

main();
