/** Callers that load a server: as many at once as are told, or so many calls a second. */
import { setTimeout as delay } from 'node:timers/promises';
import { chat, Refused, type Timing } from './chat.ts';

/** What a load consisted of. */
export interface Load {
  readonly timings: readonly Timing[];
  readonly refused: number;
  readonly failed: number;
  /** The first few failures, in words. */
  readonly failures: readonly string[];
  readonly seconds: number;
}

/** Who is asked for what. */
export interface Target {
  readonly url: string;
  readonly model: string;
  /** Words of a prompt. */
  readonly promptWords: number;
  /** Tokens of an answer. */
  readonly tokens: number;
}

/** A failed call is told once a cause; further ones are only counted. */
const failuresShownMax = 5;
/** Longest time of one call. */
const callTimeoutMs = 120_000;
/** Calls of a soak that may be under way at once; a server that falls behind is refused further ones by us. */
const underWayMax = 256;

const words = ['river', 'stone', 'cloud', 'paper', 'amber', 'winter', 'garden', 'signal', 'copper', 'harbour'];

/** A prompt that differs from all others from its first word on, so that no cache of prefixes answers it. */
function prompt(number: number, length: number): string {
  const text = [`Story ${number}:`];
  for (let index = 0; text.length < length; index += 1) {
    text.push(words[(number * 7 + index * 3 + ((index * index) >> 2)) % words.length] ?? '');
  }
  return text.join(' ');
}

class Tally {
  readonly timings: Timing[] = [];
  refused = 0;
  failed = 0;
  readonly failures: string[] = [];

  async call(target: Target, number: number): Promise<void> {
    try {
      const content = prompt(number, target.promptWords);
      this.timings.push(await chat({ ...target, content, signal: AbortSignal.timeout(callTimeoutMs) }));
    } catch (thrown) {
      if (thrown instanceof Refused) {
        this.refused += 1;
        return;
      }
      this.failed += 1;
      if (this.failures.length < failuresShownMax) this.failures.push(String(thrown));
    }
  }
}

let calls = 0;
const nextCall = (): number => {
  calls += 1;
  return calls;
};

/** `clients` callers, each of which asks again as soon as it was answered, for `seconds`. */
export async function closedLoad(target: Target, clients: number, seconds: number): Promise<Load> {
  const tally = new Tally();
  const startedAt = performance.now();
  const until = startedAt + seconds * 1e3;
  const caller = async (): Promise<void> => {
    while (performance.now() < until) await tally.call(target, nextCall());
  };
  await Promise.all(Array.from({ length: clients }, caller));
  return { ...tally, seconds: (performance.now() - startedAt) / 1e3 };
}

/** `rate` calls a second, evenly, whatever the answers do, for `seconds`; `watch` runs every `watchSeconds`. */
export async function openLoad(
  target: Target,
  rate: number,
  seconds: number,
  watchSeconds: number,
  watch: (elapsedSeconds: number, load: { calls: number; refused: number; failed: number }) => void,
): Promise<Load> {
  const tally = new Tally();
  const underWay = new Set<Promise<void>>();
  const startedAt = performance.now();
  let watchedAt = 0;
  for (let number = 0; number < rate * seconds; number += 1) {
    const dueMs = startedAt + (number * 1e3) / rate;
    await delay(Math.max(0, dueMs - performance.now()));
    const elapsedSeconds = (performance.now() - startedAt) / 1e3;
    if (elapsedSeconds >= watchedAt) {
      watch(elapsedSeconds, { calls: tally.timings.length, refused: tally.refused, failed: tally.failed });
      watchedAt += watchSeconds;
    }
    if (underWay.size >= underWayMax) {
      tally.refused += 1;
      continue;
    }
    const call = tally.call(target, nextCall()).finally(() => underWay.delete(call));
    underWay.add(call);
  }
  await Promise.all(underWay);
  return { ...tally, seconds: (performance.now() - startedAt) / 1e3 };
}
