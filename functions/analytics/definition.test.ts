import { expect, test } from 'vitest';
import { repositoryFile } from '../../tests/wasm/modules.ts';
import { startAnalytics } from './analytics-module.ts';
import { type Definition, definitionSchema, settingsAt, toCoreDefinition } from './definition.ts';

const analytics = startAnalytics(
  new WebAssembly.Module(repositoryFile('wasm-rust/pkg/analytics/treeline_analytics_bg.wasm')),
);

function parsed(more: object): Definition {
  const { arms: _, ...definition } = definitionSchema.parse({ name: 'test', ...more });
  return { ...definition, seed: 1 };
}

const latency = { name: 'latency', source: 'latency_ms', worst: 10_000, best: 0 };
const rail = { reward: 'latency', quantile: 0.95, limit: 2_000 };
const space = [
  { name: 'temperature', low: 0, high: 2 },
  { name: 'model', options: ['small', 'large'] },
  { name: 'max_tokens', low: 1, high: 100, logarithmic: true, whole: true },
];

test.each([
  ['nothing but a name', {}],
  ['each family', { policy: { kind: 'thompson', family: 'gaussian' } }],
  ['top two', { policy: { kind: 'top_two' } }],
  ['KL-UCB', { policy: { kind: 'kl_ucb' } }],
  ['linear Thompson sampling', { policy: { kind: 'lin_thompson' }, features: 3 }],
  ['LinUCB', { policy: { kind: 'lin_ucb' }, features: 3 }],
  ['elimination', { policy: { kind: 'elimination' } }],
  ['track and stop', { policy: { kind: 'track_and_stop' } }],
  ['a space', { policy: { kind: 'optimise' }, space }],
  ['a window', { drift: { kind: 'window', buckets: 4 } }],
  ['a discount', { drift: { kind: 'discount', half_life_ms: 60_000 } }],
  ['detection', { drift: { kind: 'detect', delta: 0.01 } }],
  ['a rail with the trials that it needs', { rewards: [latency], rails: [rail], fallback: 'a' }],
  ['a scored reward', { rewards: [{ name: 'a', source: 'scorer', scorer: { type: 'json_schema', schema: {} } }] }],
  ['a rail with a margin', { rewards: [latency], rails: [{ ...rail, margin: 0.5, confidence: 0.99 }], fallback: 'a' }],
])('the core takes %s', (_, more) => {
  const core = analytics.begin(toCoreDefinition(parsed(more)));
  expect(core.arms).toEqual([]);
  core.free();
});

test.each([
  ['a rail without a fallback', { rewards: [latency], rails: [rail] }],
  ['a rail on a reward that is not there', { rails: [rail], fallback: 'a' }],
  ['a linear policy without features', { policy: { kind: 'lin_ucb' } }],
  ['a space without its policy', { space }],
  ['a reward without a range', { rewards: [{ name: 'a', worst: 1, best: 1 }] }],
  ['rewards of the same name', { rewards: [{ name: 'a' }, { name: 'a' }] }],
])('the core refuses %s', (_, more) => {
  expect(() => analytics.begin(toCoreDefinition(parsed(more)))).toThrow('definition is invalid');
});

test('a point becomes settings by the dimensions’ names', () => {
  const definition = parsed({ policy: { kind: 'optimise' }, space });
  expect(settingsAt(definition, [0.5, 1, 32])).toEqual({ temperature: 0.5, model: 'large', max_tokens: 32 });
});

test.each([
  ['a zero character', { prompts: { a: 'x\0' } }],
  ['half a surrogate pair', { prompts: { '\ud800': 'x' } }],
  ['a cost without prices', { rewards: [{ name: 'a', source: 'cost' }] }],
  [
    'a scorer that needs more than the answer',
    { rewards: [{ name: 'a', source: 'scorer', scorer: { type: 'client' } }] },
  ],
  ['a scorer that is not there', { rewards: [{ name: 'a', source: 'scorer' }] }],
  ['arms of the same name', { arms: [1, 2].map((temperature) => ({ name: 'a', settings: { temperature } })) }],
  ['a name that is no name', { arms: [{ name: 'a/b', settings: {} }] }],
  ['an experiment as an arm’s model', { arms: [{ name: 'a', settings: { model: 'experiment/x' } }] }],
  ['more than may be stored', { prompts: { a: 'x'.repeat(200_000) } }],
])('the schema refuses %s', (_, more) => {
  expect(definitionSchema.safeParse({ name: 'test', ...more }).success).toBe(false);
});
