/**
 * A steady load for a while, in which the memory of the server, and that of the engine's processes, must stay flat. The pool
 * gets a cache of keys and values so small that it is full before the watch begins: memory that is touched for the first
 * time then is memory that comes with calls.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closedLoad, type Load, openLoad, type Target } from './load.ts';
import { percentile, slope } from './percentiles.ts';
import { type Member, members } from './processes.ts';

/** Keys and values of all sequences together, in bytes; the pool's own default is eight times as much. */
const cacheBytes = 64 * 2 ** 20;
/** Tokens that this cache may hold at most: SmolLM2-135M has 30 layers with keys and values of 192 halves each. */
const cacheTokens = cacheBytes / (30 * 2 * 192 * 2);
/** Callers at once while the cache is filled. */
const fillers = 4;
/** Longest time for that. */
const fillSecondsMax = 300;
/** Part of a soak that may still fill pools and allocators before memory must be flat. */
const warmUpShare = 0.3;
/** How often a soak looks at memory: this, or a fortieth of its time. */
const watchSecondsMax = 30;
const looks = 40;
/**
 * What a process may grow by in the watched part, by the line fitted to its resident memory: the noise of an allocator and
 * of the garbage collector. In a minute at 4 calls a second a leak of 50 kB a call shows, in an hour one of 1 kB.
 */
const growthBytesMax = 8 * 2 ** 20;

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

/** Writes a copy of the repository `from` whose language models have the small cache, runs `use`, and removes it. */
export async function withSmallCache<T>(from: string, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-soak-'));
  try {
    for (const model of await readdir(from)) {
      const manifest = JSON.parse(await readFile(join(from, model, 'model.json'), 'utf8')) as {
        capabilities?: string[];
        settings?: object;
      };
      const settings = manifest.capabilities?.includes('generate') ? { cache_bytes: cacheBytes } : {};
      await mkdir(join(folder, model));
      await writeFile(
        join(folder, model, 'model.json'),
        JSON.stringify({ ...manifest, settings: { ...manifest.settings, ...settings } }),
      );
    }
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The memory of one process over time. */
interface History {
  readonly name: string;
  readonly times: number[];
  readonly bytes: number[];
}

/** What a soak has seen of each process, by its number. */
class Memory {
  readonly histories = new Map<number, History>();

  look(elapsedSeconds: number, processes: readonly Member[]): void {
    for (const { pid, name, residentBytes } of processes) {
      const history = this.histories.get(pid) ?? { name, times: [], bytes: [] };
      this.histories.set(pid, history);
      history.times.push(elapsedSeconds);
      history.bytes.push(residentBytes);
    }
  }

  /** Prints a line a process; false where one has grown, or where one was not there all the time. */
  isFlat(sinceSeconds: number, untilSeconds: number): boolean {
    let flat = this.histories.size > 0;
    for (const [pid, { name, times, bytes }] of this.histories) {
      const first = times.findIndex((time) => time >= sinceSeconds);
      const watched = first < 0 ? [] : times.slice(first);
      const grown = slope(watched, bytes.slice(first)) * (untilSeconds - sinceSeconds);
      const whole = watched.length >= (looks * (1 - warmUpShare)) / 2;
      const good = grown <= growthBytesMax && whole;
      flat &&= good;
      process.stdout.write(
        `memory of ${name} (${pid}): ${mebibytes(bytes[0] ?? 0)} MiB at the start, ${mebibytes(bytes[first] ?? 0)} after ` +
          `the warm-up, ${mebibytes(bytes.at(-1) ?? 0)} at the end; grown by ${mebibytes(grown)} MiB by the fitted line, ` +
          `at most ${mebibytes(growthBytesMax)}: ${whole ? (good ? 'flat' : 'NOT FLAT') : 'NOT THERE ALL THE TIME'}\n`,
      );
    }
    return flat;
  }
}

/** Asks until more tokens have gone through the model than the cache holds. */
async function fillCache(target: Target): Promise<void> {
  const startedAt = performance.now();
  let tokens = 0;
  while (tokens < 2 * cacheTokens) {
    if (performance.now() - startedAt > fillSecondsMax * 1e3) throw new Error('The cache was not filled in time.');
    const load = await closedLoad(target, fillers, 1);
    if (load.timings.length === 0) throw new Error(`Nothing was answered: ${load.failures.join('; ')}`);
    for (const { promptTokens, completionTokens } of load.timings) tokens += promptTokens + completionTokens;
  }
  const seconds = (performance.now() - startedAt) / 1e3;
  process.stderr.write(`The cache of ${mebibytes(cacheBytes)} MiB is full after ${seconds.toFixed(0)} s.\n`);
}

function describe(load: Load, rate: number): string {
  const tokens = load.timings.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
  const first = load.timings.map(({ firstTokenMs }) => firstTokenMs);
  return (
    `soak: ${load.seconds.toFixed(0)} s at ${rate} calls/s: ${load.timings.length} calls, ${load.refused} refused, ` +
    `${load.failed} failed, ${(tokens / load.seconds).toFixed(1)} tokens/s, first token p50 ` +
    `${percentile(first, 0.5).toFixed(0)} ms p99 ${percentile(first, 0.99).toFixed(0)} ms\n`
  );
}

/** `rate` calls a second for `seconds`; whether all were answered and memory stayed flat in the processes of `pid`. */
export async function soak(pid: number, target: Target, rate: number, seconds: number): Promise<boolean> {
  await fillCache(target);
  const memory = new Memory();
  const load = await openLoad(target, rate, seconds, Math.min(watchSecondsMax, seconds / looks), (elapsed, sofar) => {
    const now = members(pid);
    memory.look(elapsed, now);
    const sizes = now.map(({ name, residentBytes }) => `${name} ${mebibytes(residentBytes)} MiB`).join(', ');
    process.stderr.write(
      `${elapsed.toFixed(0)} s: ${sofar.calls} calls, ${sofar.refused} refused, ${sofar.failed} failed; ${sizes}\n`,
    );
  });
  process.stdout.write(describe(load, rate));
  for (const failure of load.failures) process.stdout.write(`failed: ${failure}\n`);
  const flat = memory.isFlat(seconds * warmUpShare, seconds);
  return flat && load.failed === 0 && load.timings.length > 0;
}
