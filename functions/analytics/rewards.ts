/** Rewards of a decision: those that a call measures by itself, and the whole that several add up to. Pure. */
import type { Definition } from './definition.ts';
import type { Measurement } from './measurement.ts';

const tokensPerPrice = 1_000_000;

/** What the call cost by the experiment's prices; null where its model has none, or its tokens were not counted. */
function costOf({ prices }: Definition, { model, inputTokens, outputTokens }: Measurement): number | null {
  const price = Object.hasOwn(prices, model) ? prices[model] : undefined;
  if (price === undefined || inputTokens === null || outputTokens === null) return null;
  return (inputTokens * price.input + outputTokens * price.output) / tokensPerPrice;
}

/** The values of the rewards that a call measures; a figure that is not known has none. */
export function measuredRewards(definition: Definition, measured: Measurement): Record<string, number> {
  const figures = {
    feedback: null,
    latency_ms: measured.latencyMs,
    cost: costOf(definition, measured),
    input_tokens: measured.inputTokens,
    output_tokens: measured.outputTokens,
  };
  const known = definition.rewards.flatMap(({ name, source }) => {
    const value = source === 'scorer' ? (measured.scores[name] ?? null) : figures[source];
    return value === null ? [] : [[name, value] as const];
  });
  return Object.fromEntries(known);
}

/** The worst values of the rewards that a call measures, for one that failed. */
export function worstRewards({ rewards }: Definition): Record<string, number> {
  const measured = rewards.filter(({ source }) => source !== 'feedback');
  return Object.fromEntries(measured.map(({ name, worst }) => [name, worst]));
}

/** The weighted mean of the rewards, each from worst (0) to best (1); null where one is missing and has no default. */
export function wholeReward({ rewards }: Definition, given: Readonly<Record<string, number>>): number | null {
  let sum = 0;
  let weights = 0;
  for (const { name, worst, best, weight, default: missing } of rewards) {
    if (weight === 0) continue;
    const value = given[name] ?? missing;
    if (value === null) return null;
    sum += weight * Math.min(1, Math.max(0, (value - worst) / (best - worst)));
    weights += weight;
  }
  return sum / weights;
}
