import { expect, test } from 'vitest';
import { type Definition, definitionSchema } from './definition.ts';
import { measuredRewards, wholeReward, worstRewards } from './rewards.ts';

function definitionOf(rewards: object[], prices: object = {}): Definition {
  const { arms: _, ...definition } = definitionSchema.parse({ name: 'test', rewards, prices });
  return { ...definition, seed: 1 };
}

const measurement = { model: 'small', latencyMs: 800, inputTokens: 2_000, outputTokens: 500, scores: {} };
const measuring = definitionOf(
  [
    { name: 'accepted' },
    { name: 'time', source: 'latency_ms', worst: 2_000, best: 0 },
    { name: 'money', source: 'cost', worst: 1, best: 0 },
    { name: 'read', source: 'input_tokens', worst: 4_000, best: 0 },
    { name: 'written', source: 'output_tokens', worst: 1_000, best: 0 },
  ],
  { small: { input: 3, output: 10 } },
);

test('a call gives the rewards that it measures, and none that is fed back', () => {
  expect(measuredRewards(measuring, measurement)).toEqual({ time: 800, money: 0.011, read: 2_000, written: 500 });
});

test('a score is the reward of its name; one that could not be had is missing', () => {
  const scorer = { type: 'numeric', expected: 1 };
  const scored = definitionOf([
    { name: 'right', source: 'scorer', scorer },
    { name: 'other', source: 'scorer', scorer },
  ]);
  expect(measuredRewards(scored, { ...measurement, scores: { right: 0.5, stray: 1 } })).toEqual({ right: 0.5 });
});

test('a cost is not guessed: without tokens or a price there is none', () => {
  const untold = { ...measurement, inputTokens: null, outputTokens: null };
  expect(measuredRewards(measuring, untold)).toEqual({ time: 800 });
  expect(measuredRewards(measuring, { ...measurement, model: 'large' })).not.toHaveProperty('money');
  expect(measuredRewards(measuring, { ...measurement, model: 'constructor' })).not.toHaveProperty('money');
});

test('a failed call has the worst of what it would have measured', () => {
  expect(worstRewards(measuring)).toEqual({ time: 2_000, money: 1, read: 4_000, written: 1_000 });
});

test.each([
  ['one reward is itself', [{ name: 'a' }], { a: 0.25 }, 0.25],
  ['beyond the range is its end', [{ name: 'a', worst: 1, best: 5 }], { a: 9 }, 1],
  ['a range may fall', [{ name: 'a', worst: 100, best: 0 }], { a: 25 }, 0.75],
  ['weights count', [{ name: 'a', weight: 3 }, { name: 'b' }], { a: 1, b: 0 }, 0.75],
  ['a default fills in', [{ name: 'a' }, { name: 'b', default: 1 }], { a: 0 }, 0.5],
  ['a missing one without a default leaves out', [{ name: 'a' }, { name: 'b' }], { a: 1 }, null],
  ['what weighs nothing is not missed', [{ name: 'a' }, { name: 'b', weight: 0 }], { a: 1 }, 1],
])('the whole reward: %s', (_, rewards, given, whole) => {
  expect(wholeReward(definitionOf(rewards), given as unknown as Record<string, number>)).toBe(whole);
});
