/** The built search module: it decides as the native build does, to the bit, and refuses by code. */
import { beforeEach, describe, expect, test } from 'vitest';
import {
  rootNode,
  type SearchEvent,
  type SearchModule,
  type SearchOptions,
  SearchRefused,
  startSearch,
} from '../../functions/search/core/search-module.ts';
import { LiveInstance, WasmTrapped } from '../../functions/wasm/instance.ts';
import { initSync } from '../../wasm-rust/pkg/search/treeline_search.js';
import { repositoryFile } from './modules.ts';

const module = new WebAssembly.Module(repositoryFile('wasm-rust/pkg/search/treeline_search_bg.wasm'));
const text = (path: string) => new TextDecoder().decode(repositoryFile(path));
const snapshots = 'wasm-rust/search/tests/snapshots';
const options: SearchOptions = { algorithm: 'abmcts-a', arms: 2, seed: 42 };

interface LogCase {
  readonly options: SearchOptions;
  readonly events: readonly SearchEvent[];
  readonly fingerprint: string;
}

let search: SearchModule;
beforeEach(() => {
  search = startSearch(module);
});

/** The code of the core's refusal. */
function refusal(call: () => unknown): string {
  try {
    call();
  } catch (thrown) {
    if (thrown instanceof SearchRefused) return thrown.code;
    throw thrown;
  }
  return 'none';
}

describe('the same bits as natively', () => {
  const cases = text(`${snapshots}/logs.jsonl`)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as LogCase);

  test.each(cases)('after a long log of $options.algorithm, $options.strategy, $options.distribution', (kept) => {
    const core = search.begin(kept.options);
    for (const event of kept.events) core.apply(event);
    expect(core.fingerprint()).toBe(kept.fingerprint);
    expect(search.fromSnapshot(core.snapshot()).fingerprint()).toBe(kept.fingerprint);
    expect(search.fromJson(core.toJson()).fingerprint()).toBe(kept.fingerprint);
  });

  test('snapshots that were written natively load', () => {
    const fromBytes = search.fromSnapshot(repositoryFile(`${snapshots}/v1.bin`));
    const fromJson = search.fromJson(text(`${snapshots}/v1.json`));
    expect(fromBytes.fingerprint()).toBe(fromJson.fingerprint());
    expect(fromBytes.ask(4, 1)).toEqual(fromJson.ask(4, 1));
  });
});

test('a search asks, is told, and knows its best answers', () => {
  const core = search.begin({ ...options, stop: { trialsMax: 20 } });
  for (let now = 0; core.stopReason(now) === null; now++) {
    for (const { id, arm } of core.ask(1, now)) {
      expect(core.tell(id, arm === 1 ? 0.9 : 0.3, { tokens: 10, timeMs: 5 }, now)).toBe(true);
      expect(core.tell(id, 0, {}, now)).toBe(false);
    }
  }
  expect(core.stopReason(20)).toBe('trials');
  expect(core.top(3)).toMatchObject([{ score: 0.9, arm: 1 }, { score: 0.9 }, { score: 0.9 }]);
  expect(core.statistics(rootNode)).toMatchObject({ parent: null, score: null, visits: 20, open: 0 });
  expect(core.spent).toEqual({ tokens: 200, moneyMicros: 0, timeMs: 100 });
  expect(core.armStatistics(1).mean).toBeCloseTo(0.9, 6);
  expect(core.openTrials).toEqual([]);
  expect(core.state().trials[0]).toMatchObject({ parent: rootNode, status: 'complete', cost: { tokens: 10 } });
  expect(core.expectedGain).toBeLessThan(0.06);
  core.free();
});

test('open trials end by failing or by their deadline, and arms come and go', () => {
  const core = search.begin({ ...options, trialTimeoutMs: 100 });
  expect(core.ask(2, 0).map(({ id }) => id)).toEqual([1, 2]);
  expect(core.fail(1, { tokens: 3 }, 50)).toBe(true);
  expect(core.expire(100)).toEqual([2]);
  expect(core.addArm(0.5)).toBe(2);
  core.removeArm(0);
  core.removeArm(1);
  expect(core.ask(1, 200)).toMatchObject([{ id: 3, parent: rootNode, arm: 2 }]);
  expect(core.apply({ event: 'tell', trial: 3, score: 0.25, now: 210 })).toEqual({ recorded: true });
  expect(core.apply({ event: 'ask', count: 1, now: 220 })).toMatchObject({ asked: [{ id: 4, arm: 2 }] });
});

test('what is refused is refused by code and changes nothing', () => {
  const core = search.begin(options);
  core.ask(1, 0);
  const before = core.fingerprint();
  expect(refusal(() => core.tell(1, Number.NaN, {}, 1))).toBe('score_invalid');
  expect(refusal(() => core.tell(1, 1.5, {}, 1))).toBe('score_invalid');
  expect(refusal(() => core.tell(7, 0.5, {}, 1))).toBe('trial_unknown');
  expect(refusal(() => core.tell(1.5, 0.5, {}, 1))).toBe('event_invalid');
  expect(refusal(() => core.tell(1, 0.5, { tokens: -1 }, 1))).toBe('event_invalid');
  expect(refusal(() => core.ask(0, 1))).toBe('count_out_of_range');
  expect(refusal(() => core.ask(1, Number.POSITIVE_INFINITY))).toBe('event_invalid');
  expect(refusal(() => core.apply({ event: 'nap' } as unknown as SearchEvent))).toBe('event_invalid');
  expect(refusal(() => search.begin({ ...options, arms: 0 }))).toBe('options_invalid');
  expect(refusal(() => search.fromSnapshot(new Uint8Array(100)))).toBe('snapshot_corrupt');
  expect(refusal(() => search.fromJson('{}'))).toBe('snapshot_corrupt');
  expect(core.fingerprint()).toBe(before);
});

test('100,000 nodes take less than 64 MB of the module', () => {
  const core = search.begin({ algorithm: 'best-first', arms: 2, seed: 1 });
  while (core.trials < 100_000) {
    for (const { id } of core.ask(4, 0)) core.tell(id, (id % 997) / 997, {}, 0);
  }
  expect(initSync({ module }).memory.buffer.byteLength).toBeLessThan(64_000_000);
}, 60_000);

test('a trap is followed by a fresh instance, which loads what was saved', () => {
  const live = new LiveInstance({ name: 'search', start: () => startSearch(module) });
  const saved = live.run((core) => core.begin(options).snapshot());
  const trap = () => initSync({ module }).search_fingerprint(0xfffffff0);
  expect(() => live.run(trap)).toThrow(WasmTrapped);
  expect(live.run((core) => core.fromSnapshot(saved).trials)).toBe(0);
});
