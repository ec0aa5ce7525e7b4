/**
 * Measures contenders in turns. A block of iterations is one order, timed from outside, because workerd's clock stands
 * still during a request; what an order of no iteration costs is taken off. Contenders take turns within a round, so
 * that whatever else the machine does falls on all of them.
 */
import type { Contender } from './contender.ts';
import type { Form, Workload } from './engine.ts';
import { processorMs } from './process.ts';

/** One row of the result: a contender on a workload. */
export interface Entry {
  readonly contender: Contender;
  readonly workload: Workload;
  readonly form: Form;
}

/** Milliseconds per iteration. */
export interface Cost {
  /** Median over the rounds, of the block's time on the clock. */
  readonly wallMs: number;
  /** The fastest round's. */
  readonly wallMsLeast: number;
  /** Processor time of the process over all rounds, or null where the kernel does not tell. */
  readonly cpuMs: number | null;
  readonly iterations: number;
  readonly memoryBytes: number;
  readonly embedding: readonly number[];
}

export interface Pace {
  readonly rounds: number;
  /** How long a block should take. Processor time is counted in steps of 10 ms, so a block is many steps long. */
  readonly blockMs: number;
  /** How long a contender computes before it is measured, so that the host has optimised its code. */
  readonly warmUpMs: number;
}

interface Tally {
  readonly iterations: number;
  readonly wall: number[];
  cpuMs: number;
  cpuKnown: boolean;
  memoryBytes: number;
  embedding: readonly number[];
}

/** A clock in milliseconds that never goes back. */
export type Now = () => number;

/** The cost of each entry, in the entries' order. `progress` is told each round's number. */
export async function measure(
  entries: readonly Entry[],
  pace: Pace,
  progress: (round: number) => void,
  now: Now = () => performance.now(),
): Promise<Cost[]> {
  const tallies: Tally[] = [];
  for (const entry of entries) tallies.push(await calibrate(entry, pace, now));
  for (let round = 0; round < pace.rounds; round++) {
    progress(round);
    // Each round starts with another entry: none always runs on a machine that the one before has warmed.
    for (let turn = 0; turn < entries.length; turn++) {
      const index = (turn + round) % entries.length;
      const entry = entries[index];
      const tally = tallies[index];
      if (entry !== undefined && tally !== undefined) await block(entry, tally, now);
    }
  }
  return tallies.map(cost);
}

/** Runs ever longer blocks until warm, and says how many iterations make a block. */
async function calibrate({ contender, workload, form }: Entry, pace: Pace, now: Now): Promise<Tally> {
  const started = now();
  let iterations = 1;
  for (;;) {
    const blockStarted = now();
    await contender.order({ workload, form, iterations });
    const tookMs = now() - blockStarted;
    if (tookMs < pace.blockMs / 2) iterations *= 2;
    else if (now() - started >= pace.warmUpMs) break;
    else iterations = Math.max(1, Math.round((iterations * pace.blockMs) / tookMs));
  }
  return { iterations, wall: [], cpuMs: 0, cpuKnown: true, memoryBytes: 0, embedding: [] };
}

async function block({ contender, workload, form }: Entry, tally: Tally, now: Now): Promise<void> {
  const emptyStarted = now();
  await contender.order({ workload, form, iterations: 0 });
  const emptyMs = now() - emptyStarted;
  const cpuBefore = processorMs(contender.pid);
  const started = now();
  const outcome = await contender.order({ workload, form, iterations: tally.iterations });
  tally.wall.push((now() - started - emptyMs) / tally.iterations);
  const cpuAfter = processorMs(contender.pid);
  if (cpuBefore === null || cpuAfter === null) tally.cpuKnown = false;
  else tally.cpuMs += cpuAfter - cpuBefore;
  tally.memoryBytes = outcome.memoryBytes;
  tally.embedding = outcome.embedding;
}

function cost(tally: Tally): Cost {
  const rounds = tally.wall.length;
  return {
    wallMs: median(tally.wall),
    wallMsLeast: Math.min(...tally.wall),
    cpuMs: tally.cpuKnown ? tally.cpuMs / (tally.iterations * rounds) : null,
    iterations: tally.iterations * rounds,
    memoryBytes: tally.memoryBytes,
    embedding: tally.embedding,
  };
}

/** The middle value; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
