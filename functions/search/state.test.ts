import { beforeEach, expect, test } from 'vitest';
import { repositoryFile } from '../../tests/wasm/modules.ts';
import { initSync } from '../../wasm-rust/pkg/search/treeline_search.js';
import type { SearchJournal } from '../ports.ts';
import { LiveInstance } from '../wasm/instance.ts';
import { type SearchModule, startSearch } from './core/search-module.ts';
import type { SearchDefinition } from './definition.ts';
import type { Entry, EntryOf } from './entries.ts';
import { MemoryJournal } from './memory-journal.ts';
import { promptFor } from './prompts.ts';
import { SearchRun, type TrialWork } from './run.ts';
import { failuresInRowMax, LogDamaged, SearchState } from './state.ts';
import { viewOf } from './view.ts';

const module = new WebAssembly.Module(repositoryFile('wasm-rust/pkg/search/treeline_search_bg.wasm'));
let live: LiveInstance<SearchModule>;
beforeEach(() => {
  live = new LiveInstance({ name: 'search', start: () => startSearch(module) });
});

const begun = 1_793_491_200_000;

const definition: SearchDefinition = {
  messages: [{ role: 'user', content: 'Count.' }],
  arms: [
    { model: 'a', parameters: {} },
    { model: 'b', parameters: {} },
  ],
  scorer: { type: 'exact', expected: 'x', ignore_case: false },
  budget: { trials: 10 },
  algorithm: 'abmcts-a',
  strategy: 'bandit',
  distribution: 'gaussian',
  concurrency: 3,
  trial_timeout_ms: 1_000,
  score_reached: 1,
  seed: 7,
};

const startOf = (changes: Partial<SearchDefinition> = {}): EntryOf<'started'> => ({
  type: 'started',
  at: begun,
  id: 'id',
  definition: { ...definition, ...changes },
  deadline_at: begun + 60_000,
  key_id: null,
  origin: null,
});

const usage = { model: 'a', calls: 1, input_tokens: 10, output_tokens: 5 };

/** Models that count, scored by the number; `calls` has each call that was made. */
function counting(more: Partial<TrialWork> = {}) {
  const calls: string[] = [];
  const work: TrialWork = {
    async generate(state, trial) {
      calls.push(`generate ${trial.id}`);
      const text = String(Number(state.trial(trial.parent)?.text ?? '0') + 1);
      return { type: 'generated', at: begun, trial: trial.id, text, finish_reason: 'stop', usage, latency_ms: 1 };
    },
    async score(_, trial) {
      calls.push(`score ${trial.id}`);
      return { type: 'scored', at: begun, trial: trial.id, score: Number(trial.text) / 20, feedback: '', usage: [] };
    },
    ...more,
  };
  return { calls, work };
}

const clock = { now: () => begun + 1, elapsed: () => 0 };

async function ran(journal: SearchJournal, work: TrialWork, signal = new AbortController().signal) {
  const run = await SearchRun.from({ journal, live, clock, work, signal });
  await run.run();
  return run.state;
}

const journalOf = (changes: Partial<SearchDefinition> = {}) => new MemoryJournal([JSON.stringify(startOf(changes))]);

test('a search makes and scores each trial once, and its log replays to the same state', async () => {
  const { calls, work } = counting();
  const journal = journalOf();
  const state = await ran(journal, work);
  expect([state.status, state.reason, state.trials.length]).toEqual(['completed', 'trials', 10]);
  expect(new Set(calls).size).toBe(20);
  expect(calls.length).toBe(20);
  expect(state.usage).toEqual([{ model: 'a', calls: 10, input_tokens: 100, output_tokens: 50 }]);
  const entries = (await journal.read(0, 0)).map((text) => JSON.parse(text) as Entry);
  expect(SearchState.replay(entries, live).fingerprint()).toBe(state.fingerprint());
});

test('killed after any entry it goes on, and calls again only for what is not in the log', async () => {
  const whole = journalOf({ concurrency: 1 });
  const undisturbed = await ran(whole, counting().work);
  const texts = await whole.read(0, 0);
  for (let kept = 1; kept < texts.length; kept += 1) {
    const { calls, work } = counting();
    const state = await ran(new MemoryJournal(texts.slice(0, kept)), work);
    const before = texts.slice(0, kept).map((text) => (JSON.parse(text) as Entry).type);
    const done = before.filter((type) => type === 'generated' || type === 'scored').length;
    expect([kept, calls.length]).toEqual([kept, 20 - done]);
    expect(state.fingerprint()).toBe(undisturbed.fingerprint());
  }
});

test('never more calls are under way than it may have, nor more trials than its budget', async () => {
  let [underWay, most] = [0, 0];
  const { calls, work } = counting();
  const generate: TrialWork['generate'] = async (state, trial, signal) => {
    underWay += 1;
    most = Math.max(most, underWay);
    await new Promise((resolve) => setTimeout(resolve, 2));
    underWay -= 1;
    return work.generate(state, trial, signal);
  };
  await ran(journalOf({ budget: { trials: 7 } }), { ...work, generate });
  expect([most, calls.filter((call) => call.startsWith('generate')).length]).toEqual([3, 7]);
});

test('tokens end it with no more than what was under way', async () => {
  const { work } = counting();
  const state = await ran(journalOf({ budget: { trials: 100, tokens: 40 }, concurrency: 2 }), work);
  expect(state.reason).toBe('tokens');
  expect(state.tokens).toBeLessThanOrEqual(40 + 2 * 15);
});

test('what always fails ends it, with the reason of the last failure', async () => {
  const { calls, work } = counting({
    score: async (_, trial) => ({
      type: 'failed',
      at: begun,
      trial: trial.id,
      stage: 'score',
      code: 'upstream_failed',
      message: 'no',
      usage: [],
    }),
  });
  const state = await ran(journalOf({ concurrency: 1, budget: { trials: 100 } }), work);
  expect([state.status, state.reason, state.lastFailure?.message]).toEqual(['failed', 'failures', 'no']);
  expect(calls.filter((call) => call.startsWith('generate')).length).toBe(failuresInRowMax);
});

test('a search that others end stops at once, and its calls with it', async () => {
  const journal = journalOf({ concurrency: 1 });
  const ended = Promise.withResolvers<void>();
  const { work } = counting({
    async generate(_, __, signal) {
      signal.addEventListener('abort', () => ended.resolve());
      await journal.append((await journal.read(0, 0)).length, [
        JSON.stringify({ type: 'finished', at: begun, reason: 'cancelled' }),
      ]);
      await new Promise((resolve) => setTimeout(resolve, 5));
      return { type: 'generated', at: begun, trial: 1, text: 'late', finish_reason: 'stop', usage, latency_ms: 1 };
    },
  });
  const state = await ran(journal, work);
  await ended.promise;
  expect([state.status, state.answers(1)]).toEqual(['cancelled', []]);
});

test('a trap of the module costs a search nothing', async () => {
  const { work } = counting();
  const state = await ran(journalOf(), {
    ...work,
    async generate(of, trial, signal) {
      expect(() => live.run(() => initSync({ module }).search_fingerprint(0xfffffff0))).toThrow();
      return work.generate(of, trial, signal);
    },
  });
  expect(state.trials.length).toBe(10);
  expect(live.traps).toBeGreaterThan(0);
});

test('a log that contradicts itself is refused', () => {
  const asked = { type: 'asked' as const, at: begun, count: 1, trials: [{ id: 5, parent: 0, arm: 0 }] };
  expect(() => SearchState.replay([], live)).toThrow(LogDamaged);
  expect(() => SearchState.replay([startOf(), asked], live)).toThrow(LogDamaged);
});

test('a refinement shows the answer before it, its score and what was said of it', async () => {
  const state = await ran(journalOf({ budget: { trials: 1 } }), counting().work);
  const [trial] = state.trials;
  if (trial === undefined) throw new Error('there is a trial');
  const prompt = promptFor(definition.messages, { ...trial, feedback: 'Count higher.' });
  expect(prompt.map(({ role }) => role)).toEqual(['user', 'assistant', 'user']);
  expect(prompt[2]?.content).toContain('a score of 0.05');
  expect(prompt[2]?.content).toContain('Count higher.');
  expect(promptFor(definition.messages, null)).toEqual(definition.messages);
});

test('the page draws every trial, marks the best path, and takes models’ words for text alone', async () => {
  const hostile = '<script>alert(1)</script>"><img src=x>';
  const { work } = counting({
    generate: async (_, trial) => ({
      type: 'generated',
      at: begun,
      trial: trial.id,
      text: hostile,
      finish_reason: 'stop',
      usage,
      latency_ms: 1,
    }),
    score: async (_, trial) => ({
      type: 'scored',
      at: begun,
      trial: trial.id,
      score: 0.5,
      feedback: hostile,
      usage: [],
    }),
  });
  const page = viewOf(await ran(journalOf(), work));
  expect(page.match(/<circle/g)).toHaveLength(10);
  expect(page.match(/<line class="best"/g)?.length).toBeGreaterThan(0);
  expect(page).not.toMatch(/<script|<img|NaN|undefined/);
});
