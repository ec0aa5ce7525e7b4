/**
 * What a tenant may ask an experiment to do, as the schema of `POST /v1/experiments`, and the same in the words of the
 * analytics core. The core checks what a schema cannot say (that a rail's reward exists, and the like).
 */
import { z } from '@hono/zod-openapi';
import { type Scorer, scorerSchema } from '../search/definition.ts';
import type { Settings } from './analytics-module.ts';

/** Longest time that a window, a grace period or a bucket may have, in milliseconds: 30 days. */
export const spanMsMax = 30 * 86_400_000;
/** Arms of an experiment, withdrawn ones among them; the core's own bound. */
export const armsMax = 128;
/** Characters of a definition as JSON. */
export const definitionLengthMax = 200_000;
/** How the model of a chat call names an experiment. */
export const experimentPrefix = 'experiment/';
const settingLengthMax = 128;
const settingsMax = 32;
const featuresMax = 32;
const featureSizeMax = 16;

/** Whether Postgres takes every text in `value`: its JSON holds neither zero characters nor half a surrogate pair. */
export function isStorable(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0');
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, inner]) => isStorable(key) && isStorable(inner));
}

export const storable = 'must not hold zero characters or lone surrogates';

/** A name of an experiment, an arm, a reward: safe in an address and in a header. */
export const nameSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be 1 to 64 letters, digits, and . _ -');

/** A task type; the empty text is one too. */
export const taskSchema = z.string().max(64).refine(isStorable, storable);

export const featuresSchema = z.array(z.number().min(-featureSizeMax).max(featureSizeMax)).max(featuresMax);

export const settingsSchema = z
  .record(z.string(), z.union([z.number(), z.string().max(settingLengthMax), z.boolean()]))
  .refine((settings) => Object.keys(settings).length <= settingsMax, `must have at most ${settingsMax} entries`)
  .refine(
    (settings) => Object.keys(settings).every((name) => nameSchema.safeParse(name).success),
    'must be named by 1 to 64 letters, digits, and . _ -',
  )
  .refine(isStorable, storable)
  .refine(({ model }) => !String(model ?? '').startsWith(experimentPrefix), 'an experiment cannot call an experiment')
  .openapi({ example: { model: 'smollm2-135m-instruct', temperature: 0.2 } });

const armSchema = z.object({ name: nameSchema, settings: settingsSchema });

/** Where a reward's value comes from: feedback, or a chat call by the experiment's name. */
const sourceSchema = z.enum(['feedback', 'latency_ms', 'cost', 'input_tokens', 'output_tokens', 'scorer']);

/** The scorers that need the answer alone. */
const answerScorers = new Set<Scorer['type']>(['json_schema', 'pattern', 'exact', 'numeric', 'judge']);
const answerScorer = scorerSchema.refine(({ type }) => answerScorers.has(type), {
  message: `must be one of ${[...answerScorers].join(', ')}`,
});

const rewardSchema = z.object({
  name: nameSchema,
  worst: z.number().default(0),
  best: z.number().default(1),
  weight: z.number().min(0).max(1e6).default(1),
  default: z.number().nullable().default(null),
  source: sourceSchema.default('feedback'),
  scorer: answerScorer.optional(),
});

const railSchema = z.object({
  reward: nameSchema,
  quantile: z.number().gt(0).lt(1),
  limit: z.number(),
  confidence: z.number().min(0.5).lt(1).default(0.9),
  trials: z.int().min(1).max(1_000_000).optional(),
  margin: z.number().min(0).lt(1).default(0),
});

const family = z.enum(['beta', 'gaussian']).default('beta');
const share = z.number().gt(0).lt(1);
const policySchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('thompson'), family }),
  z.object({ kind: z.literal('top_two'), family, leader: share.default(0.5) }),
  z.object({ kind: z.literal('kl_ucb'), exploration: z.number().min(0).max(10).default(0) }),
  z.object({ kind: z.literal('lin_thompson'), ridge: z.number().default(1), scale: z.number().default(0.5) }),
  z.object({ kind: z.literal('lin_ucb'), ridge: z.number().default(1), width: z.number().default(1) }),
  z.object({ kind: z.literal('elimination'), delta: share.default(0.05) }),
  z.object({ kind: z.literal('track_and_stop'), delta: share.default(0.05) }),
  z.object({ kind: z.literal('optimise'), initial: z.int().min(1).max(64).default(10) }),
]);

const driftSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('stationary') }),
  z.object({ kind: z.literal('window'), buckets: z.int().min(1).max(32) }),
  z.object({ kind: z.literal('discount'), half_life_ms: z.int().min(1).max(spanMsMax) }),
  z.object({ kind: z.literal('detect'), delta: share }),
]);

const dimensionSchema = z.union([
  z.object({
    name: nameSchema,
    low: z.number(),
    high: z.number(),
    logarithmic: z.boolean().default(false),
    whole: z.boolean().default(false),
  }),
  z.object({ name: nameSchema, options: z.array(z.string().min(1).max(settingLengthMax)).min(2).max(32) }),
]);

const price = z.object({ input: z.number().min(0), output: z.number().min(0) });
const span = (usual: number, least = 1) => z.int().min(least).max(spanMsMax).default(usual);

/** The body of `POST /v1/experiments`. */
export const definitionSchema = z
  .object({
    name: nameSchema,
    arms: z.array(armSchema).max(armsMax).default([]),
    // What all arms, or all points of the space, have in common; an arm's own settings go first.
    settings: settingsSchema.default({}),
    rewards: z
      .array(rewardSchema)
      .min(1)
      .max(8)
      .default([{ name: 'reward', worst: 0, best: 1, weight: 1, default: null, source: 'feedback' }]),
    rails: z.array(railSchema).max(4).default([]),
    policy: policySchema.default({ kind: 'thompson', family: 'beta' }),
    floor: z.number().min(0).max(1).default(0.05),
    shadow: z.boolean().default(false),
    fallback: nameSchema.nullable().default(null),
    window_ms: span(600_000),
    grace_ms: span(600_000, 0),
    bucket_ms: span(3_600_000),
    drift: driftSchema.default({ kind: 'stationary' }),
    prior: z
      .object({ successes: z.number().min(1).max(1e6), failures: z.number().min(1).max(1e6) })
      .default({ successes: 1, failures: 1 }),
    sharing: z.number().min(0).max(1e6).default(0),
    features: z.int().min(0).max(featuresMax).default(0),
    space: z.array(dimensionSchema).max(16).default([]),
    prompts: z.record(z.string(), z.string()).default({}),
    prices: z.record(z.string(), price).default({}),
    seed: z.int().min(0).max(0xffff_ffff).optional(),
  })
  .refine(isStorable, storable)
  .refine((definition) => JSON.stringify(definition).length <= definitionLengthMax, {
    message: `must have at most ${definitionLengthMax} characters as JSON`,
  })
  .refine(({ rewards, prices }) => rewards.every(({ source }) => source !== 'cost') || Object.keys(prices).length > 0, {
    message: 'a reward with the source "cost" needs prices',
    path: ['prices'],
  })
  .refine(({ rewards }) => rewards.every(({ source, scorer }) => (source === 'scorer') === (scorer !== undefined)), {
    message: 'a reward with the source "scorer" needs one, and no other has one',
    path: ['rewards'],
  })
  .refine(({ arms }) => new Set(arms.map(({ name }) => name)).size === arms.length, {
    message: 'two arms have the same name',
    path: ['arms'],
  })
  .refine(({ arms, prompts }) => arms.every(({ settings }) => hasPrompt(prompts, settings)), {
    message: 'an arm names a prompt_version that prompts does not have',
    path: ['arms'],
  })
  .openapi('ExperimentDefinition', {
    example: {
      name: 'summaries',
      arms: [
        { name: 'cool', settings: { model: 'smollm2-135m-instruct', temperature: 0.2 } },
        { name: 'warm', settings: { model: 'smollm2-135m-instruct', temperature: 0.9 } },
      ],
      rewards: [{ name: 'accepted', default: 0 }],
    },
  });

/** A definition with all its defaults, as it is stored: its arms are events, and its seed is drawn. */
export type Definition = Omit<z.infer<typeof definitionSchema>, 'arms' | 'seed'> & { readonly seed: number };

/** Whether `prompts` has the prompt that `settings` name; those of an experiment without prompts are the client's. */
export function hasPrompt(prompts: Readonly<Record<string, string>>, settings: Settings): boolean {
  const version = settings.prompt_version;
  return version === undefined || Object.keys(prompts).length === 0 || Object.hasOwn(prompts, String(version));
}

const toCamel = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const withCamelKeys = (value: object) =>
  Object.fromEntries(Object.entries(value).map(([name, inner]) => [toCamel(name), inner]));

/** `{ kind: 'top_two', leader: 0.5 }` as `{ topTwo: { leader: 0.5 } }`. */
function tagged({ kind, ...rest }: { readonly kind: string }): object {
  return { [toCamel(kind)]: withCamelKeys(rest) };
}

function toCoreDimension(dimension: z.infer<typeof dimensionSchema>): object {
  const { name, ...kind } = dimension;
  return { name, kind: 'options' in kind ? { choice: kind } : { number: kind } };
}

/** The least trials after which a rail's bound can be below its limit: those that the core asks for. */
function toCoreRail({ trials, ...rail }: z.infer<typeof railSchema>): object {
  const allowed = (1 - rail.quantile) * (1 - rail.margin);
  const least = Math.ceil(Math.log(1 - rail.confidence) / Math.log(1 - allowed) + 1e-9);
  return { ...rail, trials: trials ?? Math.max(1, least) };
}

/** The definition in the core's words. */
export function toCoreDefinition(definition: Definition): object {
  const { name, seed, floor, shadow, fallback, prior, sharing, features, policy, drift } = definition;
  return {
    ...{ name, seed, floor, shadow, fallback, prior, sharing, features },
    rewards: definition.rewards.map(({ source: _, scorer: __, ...reward }) => reward),
    rails: definition.rails.map(toCoreRail),
    policy: tagged(policy),
    drift: drift.kind === 'stationary' ? 'stationary' : tagged(drift),
    windowMs: definition.window_ms,
    graceMs: definition.grace_ms,
    bucketMs: definition.bucket_ms,
    space: definition.space.map(toCoreDimension),
  };
}

/** The settings at a point of the definition's space. */
export function settingsAt({ space }: Definition, point: readonly number[]): Settings {
  const settingOf = (dimension: (typeof space)[number], value: number) =>
    'options' in dimension ? (dimension.options[value] ?? '') : value;
  return Object.fromEntries(space.map((dimension, at) => [dimension.name, settingOf(dimension, point[at] ?? 0)]));
}
