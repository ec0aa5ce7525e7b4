/** What a search is asked to do, as it comes over the wire: schemas, bounds and defaults. */
import { z } from '@hono/zod-openapi';
import { type JsonSchema, SchemaRefused, SchemaValidator } from './scorers/json-schema.ts';
import { Pattern, PatternRefused } from './scorers/pattern.ts';

/** Trials of one search at most, failed ones among them. */
export const trialsMax = 1_000;
/** Arms at most. */
export const armsMax = 16;
/** Calls under way at once at most. */
export const concurrencyMax = 16;
/** Longest time from the start to the deadline, in milliseconds. */
export const deadlineMsMax = 86_400_000;
/** Longest time that one call may take, in milliseconds. */
export const trialTimeoutMsMax = 300_000;
/** Parts of a weighted mix at most. */
export const mixPartsMax = 8;
/** Messages of a problem, and characters of each, at most. */
export const messagesMax = 64;
export const messageLengthMax = 100_000;

const modelName = z
  .string()
  .min(1)
  .max(200)
  .refine((name) => name.isWellFormed() && !/\p{Cc}/u.test(name), 'must not hold control characters')
  .refine((name) => !name.startsWith('abmcts/'), 'must be a model, not a search: a search does not search by itself');

const text = z
  .string()
  .min(1)
  .max(messageLengthMax)
  .refine((value) => value.isWellFormed(), 'must be well-formed text');

/** Parameters of a model call that an arm may set; they go to the model as they are. */
export const parametersSchema = z.strictObject({
  temperature: z.number().min(0).max(2).optional(),
  top_p: z.number().gt(0).max(1).optional(),
  max_tokens: z.int().min(1).max(1_000_000).optional(),
  max_completion_tokens: z.int().min(1).max(1_000_000).optional(),
  presence_penalty: z.number().min(-2).max(2).optional(),
  frequency_penalty: z.number().min(-2).max(2).optional(),
  seed: z.int().optional(),
  stop: z.union([z.string().min(1).max(256), z.array(z.string().min(1).max(256)).max(16)]).optional(),
  reasoning_effort: z.string().max(20).optional(),
  response_format: z.looseObject({ type: z.string() }).optional(),
});

const arm = z.strictObject({ model: modelName, parameters: parametersSchema.default({}) });

/** The arms of a search: models with their parameters. */
export const armsSchema = z.array(arm).min(1).max(armsMax);

const jsonSchema = z
  .union([z.boolean(), z.record(z.string(), z.unknown())])
  .superRefine((schema, context) => refine(context, () => new SchemaValidator(schema as JsonSchema)));

const similarity = z.strictObject({
  type: z.literal('similarity'),
  reference: text,
  model: z.string().min(1).max(200).default('all-minilm-l6-v2'),
});

const simpleScorers = [
  z.strictObject({ type: z.literal('json_schema'), schema: jsonSchema }),
  z
    .strictObject({ type: z.literal('pattern'), pattern: z.string().min(1), ignore_case: z.boolean().default(false) })
    .superRefine(({ pattern }, context) => refine(context, () => new Pattern(pattern))),
  z.strictObject({ type: z.literal('exact'), expected: text, ignore_case: z.boolean().default(false) }),
  z.strictObject({
    type: z.literal('numeric'),
    expected: z.number(),
    /** The distance at which the score is one half. */
    scale: z.number().gt(0).optional(),
  }),
  similarity,
  z.strictObject({
    type: z.literal('judge'),
    model: modelName,
    rubric: text.optional(),
    parameters: parametersSchema.default({}),
  }),
  z.strictObject({
    type: z.literal('pairwise'),
    model: modelName,
    rubric: text.optional(),
    parameters: parametersSchema.default({}),
  }),
  z.strictObject({ type: z.literal('webhook'), url: z.url().max(2_000) }),
] as const;

const simpleScorer = z.discriminatedUnion('type', simpleScorers);

const mix = z.strictObject({
  type: z.literal('mix'),
  parts: z
    .array(z.strictObject({ weight: z.number().gt(0).max(1_000), scorer: simpleScorer }))
    .min(1)
    .max(mixPartsMax),
});

const client = z.strictObject({ type: z.literal('client') });

/** How answers are scored. */
export const scorerSchema = z.discriminatedUnion('type', [...simpleScorers, mix, client]).openapi('SearchScorer');

/** A scorer that this side carries out by itself. */
export type SimpleScorer = z.infer<typeof simpleScorer>;
/** Any scorer. */
export type Scorer = z.infer<typeof scorerSchema>;

const message = z.strictObject({ role: z.enum(['system', 'developer', 'user', 'assistant']), content: text });

/** The messages of a problem. */
export const messagesSchema = z.array(message).min(1).max(messagesMax);

/** What is to be answered. */
export type Message = z.infer<typeof message>;

const budget = z.strictObject({
  trials: z.int().min(1).max(trialsMax).default(16),
  tokens: z.int().min(1).max(1_000_000_000).optional(),
});

/** The fields that a search over HTTP and one inside a chat call have in common. */
export const tuning = {
  algorithm: z
    .enum([
      'auto',
      'abmcts-a',
      'abmcts-m',
      'mcts',
      'tree-of-thoughts',
      'best-first',
      'repeated-sampling',
      'sequential-refinement',
    ])
    .default('auto'),
  strategy: z.enum(['bandit', 'ucb', 'stack', 'algorithm-two']).default('bandit'),
  distribution: z.enum(['gaussian', 'beta']).default('gaussian'),
  concurrency: z.int().min(1).max(concurrencyMax).default(2),
  trial_timeout_ms: z.int().min(100).max(trialTimeoutMsMax).default(60_000),
  score_reached: z.number().min(0).max(1).default(1),
  gain_least: z.number().min(0).max(1).optional(),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
};

const template = z.strictObject({
  template: text,
  variables: z.record(z.string().min(1).max(100), z.string().max(messageLengthMax)).default({}),
});

/** `POST /v1/search`. */
export const searchRequest = z
  .strictObject({
    messages: messagesSchema.optional(),
    prompt: template.optional(),
    arms: armsSchema,
    scorer: scorerSchema,
    budget: budget.prefault({}),
    deadline_ms: z.int().min(100).max(deadlineMsMax).default(600_000),
    ...tuning,
  })
  .refine(
    ({ messages, prompt }) => (messages === undefined) !== (prompt === undefined),
    'give either messages or prompt',
  )
  .openapi('SearchRequest', {
    example: {
      messages: [{ role: 'user', content: 'Name a prime number above 100.' }],
      arms: [{ model: 'smollm2-135m-instruct', parameters: { temperature: 0.8, max_tokens: 64 } }],
      scorer: { type: 'pattern', pattern: '\\b1\\d\\d\\b' },
      budget: { trials: 4 },
    },
  });

/** A search as its log keeps it: everything that was left out has its default. */
export interface SearchDefinition {
  readonly messages: readonly Message[];
  readonly arms: readonly z.infer<typeof arm>[];
  readonly scorer: Scorer;
  readonly budget: { readonly trials: number; readonly tokens?: number | undefined };
  readonly algorithm: Exclude<z.infer<typeof tuning.algorithm>, 'auto'>;
  readonly strategy: z.infer<typeof tuning.strategy>;
  readonly distribution: z.infer<typeof tuning.distribution>;
  readonly concurrency: number;
  readonly trial_timeout_ms: number;
  readonly score_reached: number;
  readonly gain_least?: number | undefined;
  readonly seed: number;
}

/** Fails a field whose value cannot be used, with the reason. */
function refine(context: z.RefinementCtx, use: () => unknown): void {
  try {
    use();
  } catch (thrown) {
    if (!(thrown instanceof SchemaRefused) && !(thrown instanceof PatternRefused)) throw thrown;
    context.addIssue({ code: 'custom', message: thrown.message });
  }
}

/** The template's text with `{{name}}` replaced; null where a variable is not given. */
export function rendered({ template: source, variables }: z.infer<typeof template>): string | null {
  let isComplete = true;
  const shown = source.replace(/\{\{\s*([\w.-]{1,100})\s*\}\}/g, (_, name: string) => {
    isComplete &&= Object.hasOwn(variables, name);
    return variables[name] ?? '';
  });
  return isComplete ? shown : null;
}

/**
 * The algorithm that `auto` stands for, by the curves of docs/BENCHMARKS.md. Where a score without noise comes with what
 * to mend, refining the best answer is hard to beat. Where it only says right or wrong, there is nothing to climb. All
 * else is AB-MCTS's: never the best on an easy problem, never stuck on a hard one.
 */
export function algorithmFor(wanted: z.infer<typeof tuning.algorithm>, scorer: Scorer): SearchDefinition['algorithm'] {
  if (wanted !== 'auto') return wanted;
  if (scorer.type === 'json_schema' || scorer.type === 'numeric') return 'best-first';
  return scorer.type === 'exact' ? 'repeated-sampling' : 'abmcts-a';
}

/** Models that a search calls, without repetition. */
export function modelsOf({ arms, scorer }: Pick<SearchDefinition, 'arms' | 'scorer'>): string[] {
  const parts = scorer.type === 'mix' ? scorer.parts.map((part) => part.scorer) : [scorer];
  const judges = parts.flatMap((one) => (one.type === 'judge' || one.type === 'pairwise' ? [one.model] : []));
  return [...new Set([...arms.map(({ model }) => model), ...judges])];
}
