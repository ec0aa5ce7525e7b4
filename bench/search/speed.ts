/**
 * What one decision costs: an ask with its tell, on a tree of a given size. All engines get the same scores. Each
 * decision is timed alone. Some widen the tree, which is quick, and some go down it, so the mean is taken, over trees of
 * several seeds. Ours decides alike whenever it is run again, so each decision counts with its fastest run; the peer runs
 * once, and loses its slowest fiftieth instead, which is what else the machine does.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chanceOf } from './chance.ts';
import type { PeerProcess } from './engine.ts';
import type { SearchCore, SearchModule } from './module.ts';

/** What is measured. */
export interface SpeedCase {
  readonly algorithm: 'abmcts-a' | 'abmcts-m';
  readonly arms: number;
  /** Nodes of the tree before the first decision that is timed. */
  readonly nodes: number;
  /** Decisions that are timed. */
  readonly decisions: number;
}

/** Seeds of the trees. */
const treeSeeds = [1, 2, 3];
const runs = 4;
const shareKept = 0.98;

/** The mean over decisions of each one's fastest run. */
export function fastest(timesByRun: readonly (readonly number[])[]): number {
  const [first = []] = timesByRun;
  const least = first.map((_, decision) => Math.min(...timesByRun.map((times) => times[decision] ?? Number.NaN)));
  return least.reduce((sum, time) => sum + time, 0) / least.length;
}

/** The mean of all but the slowest. */
export function typical(times: readonly number[]): number {
  const kept = [...times].sort((a, b) => a - b).slice(0, Math.max(1, Math.round(times.length * shareKept)));
  return kept.reduce((sum, time) => sum + time, 0) / kept.length;
}

/** Microseconds a decision by engine; null where it was not measured. */
export interface SpeedRow extends SpeedCase {
  readonly wasm: number;
  readonly native: number | null;
  readonly peer: number | null;
  /** The peer's processor time: it uses several cores for the mixed model. */
  readonly peerProcessor: number | null;
}

/** Scores as a refining model gives them: around the middle, with noise. */
export function scoresOf({ nodes, decisions }: SpeedCase): number[] {
  return Array.from({ length: nodes + decisions }, (_, call) => {
    const score = 0.5 + 0.2 * chanceOf(1, call).normal();
    return Math.round(Math.min(1, Math.max(0, score)) * 1e6) / 1e6;
  });
}

function step(core: SearchCore, score: number): void {
  const [trial] = core.ask(1, 0);
  if (trial === undefined) throw new Error('no trial');
  core.tell(trial.id, score, {}, 0);
}

/** In WebAssembly, with the calls into the module. The module has run before, so its code is optimised. */
export function wasmCost(module: SearchModule, one: SpeedCase): number {
  const { algorithm, arms, nodes } = one;
  const scores = scoresOf(one);
  const run = () =>
    treeSeeds.flatMap((seed) => {
      const core = module.begin({ algorithm, arms, seed });
      const all = scores.map((score) => {
        const started = performance.now();
        step(core, score);
        return (performance.now() - started) * 1000;
      });
      core.free();
      return all.slice(nodes);
    });
  return fastest(Array.from({ length: runs }, run));
}

/** The program that measures natively, built; null where there is no cargo. */
export function buildNative(crates: string): string | null {
  const folder = process.env.CARGO_TARGET_DIR ?? mkdtempSync(join(tmpdir(), 'treeline-bench-'));
  try {
    const build = ['build', '--release', '--quiet', '--locked', '-p', 'search', '--example', 'measure'];
    execFileSync('cargo', build, { cwd: crates, stdio: 'inherit', env: { ...process.env, CARGO_TARGET_DIR: folder } });
    return join(folder, 'release/examples/measure');
  } catch {
    return null;
  }
}

/** Natively. */
export function nativeCost(program: string, one: SpeedCase): number {
  const scores = scoresOf(one).map((score) => String(Math.round(score * 1e6)));
  const run = () =>
    treeSeeds.flatMap((seed) => {
      const parameters = [one.algorithm, String(one.arms), String(seed), String(one.nodes), ...scores];
      const output = execFileSync(program, parameters, { encoding: 'utf8', maxBuffer: 1 << 26 });
      return output.trim().split('\n').map(Number);
    });
  return fastest(Array.from({ length: runs }, run));
}

/** The peer's, by wall and by processor. It gets fewer decisions where each takes seconds. */
export async function peerCost(
  peer: PeerProcess,
  one: SpeedCase,
  decisions: number,
): Promise<{ wall: number; processor: number }> {
  const { algorithm, arms, nodes } = one;
  const scores = scoresOf(one).slice(0, nodes + decisions);
  const [wall, processor]: number[][] = [[], []];
  for (const seed of algorithm === 'abmcts-a' ? treeSeeds : treeSeeds.slice(0, 1)) {
    const request = { call: 'measure', algorithm, arms, seed, scores, nodes };
    const times = await peer.call<{ wall: number[]; processor: number[] }>(request);
    wall?.push(...times.wall);
    processor?.push(...times.processor);
  }
  return { wall: typical(wall ?? []), processor: typical(processor ?? []) };
}
