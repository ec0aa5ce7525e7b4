/** A search as clients see it. */
import { z } from '@hono/zod-openapi';
import { scorerSchema } from './definition.ts';
import type { ModelUsage } from './entries.ts';
import type { SearchState, TrialState } from './state.ts';

/** Best answers that are shown. */
export const bestShown = 10;

const usageSchema = z
  .object({ model: z.string(), calls: z.int(), input_tokens: z.int(), output_tokens: z.int() })
  .openapi('SearchUsage');

const failureSchema = z.object({ code: z.string(), message: z.string() });

const trialSchema = z
  .object({
    id: z.int(),
    parent: z.int(),
    arm: z.int(),
    model: z.string(),
    status: z.enum(['asked', 'generated', 'scored', 'failed']),
    answer: z.string().nullable(),
    score: z.number().nullable(),
    feedback: z.string().nullable(),
    failure: failureSchema.nullable(),
    visits: z.int(),
    latency_ms: z.int(),
    usage: z.array(usageSchema),
  })
  .openapi('SearchTrial');

/** `GET /v1/search/{id}`. */
export const searchSchema = z
  .object({
    id: z.string(),
    object: z.literal('search'),
    status: z.enum(['running', 'completed', 'cancelled', 'failed']),
    reason: z.string().nullable(),
    partial: z.boolean(),
    created_at: z.int(),
    deadline_at: z.int(),
    forked_from: z.string().nullable(),
    algorithm: z.string(),
    scorer: scorerSchema,
    budget: z.object({ trials: z.int(), tokens: z.int().nullable() }),
    trials: z.object({ asked: z.int(), scored: z.int(), failed: z.int(), open: z.int() }),
    cost: z.object({ tokens: z.int(), usage: z.array(usageSchema) }),
    error: failureSchema.nullable(),
    best: z.array(
      z.object({ trial: z.int(), answer: z.string(), score: z.number().nullable(), finish_reason: z.string() }),
    ),
    tree: z.array(trialSchema),
    entries: z.int(),
    fingerprint: z.string(),
  })
  .openapi('Search');

/** The failure that a search without an answer ended by. */
export function errorOf(state: SearchState): { code: string; message: string } | null {
  if (state.status !== 'failed') return null;
  const { lastFailure } = state;
  if (lastFailure === null) return { code: 'search_failed', message: 'No answer came before the search ended.' };
  const message = `No trial succeeded; the last one failed as it was to ${lastFailure.stage}: ${lastFailure.message}`;
  return { code: lastFailure.code, message };
}

/** The whole search. */
export function shownSearch(state: SearchState): z.infer<typeof searchSchema> {
  const { started, definition, limits, trials } = state;
  const count = (status: TrialState['status']) => trials.filter((trial) => trial.status === status).length;
  return {
    id: started.id,
    object: 'search',
    status: state.status,
    reason: state.reason,
    partial: state.isPartial,
    created_at: Math.floor(started.at / 1e3),
    deadline_at: Math.floor(limits.deadlineAt / 1e3),
    forked_from: started.origin?.search ?? null,
    algorithm: definition.algorithm,
    scorer: definition.scorer,
    budget: { trials: limits.trials, tokens: limits.tokens },
    trials: { asked: trials.length, scored: count('scored'), failed: count('failed'), open: state.open.length },
    cost: { tokens: state.tokens, usage: state.usage },
    error: errorOf(state),
    best: state
      .answers(bestShown)
      .map(({ trial, text, score, finishReason }) => ({ trial, answer: text, score, finish_reason: finishReason })),
    tree: trials.map((trial) => shownTrial(state, trial)),
    entries: state.length,
    fingerprint: state.fingerprint(),
  };
}

function shownTrial(state: SearchState, trial: TrialState): z.infer<typeof trialSchema> {
  const { id, parent, arm, status, text, score, feedback, failure, latencyMs, usage } = trial;
  const model = state.definition.arms[arm]?.model ?? '';
  const visits = state.visits(id);
  return {
    id,
    parent,
    arm,
    model,
    status,
    answer: text,
    score,
    feedback,
    failure,
    visits,
    latency_ms: latencyMs,
    usage: [...usage],
  };
}

/** Usage as OpenAI's clients read it: the sum over all calls. */
export function openAiUsage(usage: readonly ModelUsage[]) {
  const input = usage.reduce((sum, one) => sum + one.input_tokens, 0);
  const output = usage.reduce((sum, one) => sum + one.output_tokens, 0);
  return { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
}
