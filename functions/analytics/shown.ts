/** The core's reports in the words of the interface: names with underscores, and tasks where the core has namespaces. */
import { z } from '@hono/zod-openapi';

const interval = z.object({ low: z.number(), high: z.number() });

const armSchema = z.object({
  arm: z.string(),
  active: z.boolean(),
  excluded: z.boolean(),
  probability: z.number(),
  decisions: z.int(),
  count: z.int(),
  mean: z.number(),
  interval,
  rewards: z.array(z.object({ reward: z.string(), count: z.int(), mean: z.number() })),
});

const effectSchema = z.object({
  parameter: z.string(),
  setting: z.string(),
  count: z.int(),
  effect: z.number(),
  low: z.number(),
  high: z.number(),
  confounded: z.boolean(),
});

const taskSchema = z.object({
  task: z.string(),
  arms: z.array(armSchema),
  best: z.string().nullable(),
  decided: z.boolean(),
  regret: z.object({ estimate: z.number(), low: z.number(), high: z.number() }).nullable(),
  needed: z.int().nullable(),
  effects: z.array(effectSchema),
});

const trafficSchema = z.object({
  start_ms: z.int(),
  width_ms: z.int(),
  decisions: z.record(z.string(), z.int()),
});

/** An experiment's analytics. */
export const reportSchema = z.object({
  newest_ms: z.int(),
  open: z.int(),
  alpha: z.number(),
  tasks: z.array(taskSchema),
  traffic: z.array(trafficSchema),
  best_point: z.object({ point: z.array(z.number()), mean: z.number(), deviation: z.number() }).nullable(),
});

const estimate = z.object({ mean: z.number(), low: z.number(), high: z.number() });

/** What another policy would have earned. */
export const estimatesSchema = z.object({
  count: z.int(),
  effective_count: z.number(),
  ips: estimate,
  snips: estimate.nullable(),
  doubly_robust: estimate,
});

export type ShownReport = z.infer<typeof reportSchema>;
export type ShownTask = z.infer<typeof taskSchema>;
export type ShownTraffic = z.infer<typeof trafficSchema>;

const words: Readonly<Record<string, string>> = { namespace: 'task', namespaces: 'tasks' };

const toSnake = (name: string): string => words[name] ?? name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function renamed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(renamed);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, inner]) => {
    // Its keys are names of arms, which are the tenant's. An arm's number of decisions is none of those.
    const isByArm = name === 'decisions' && typeof inner === 'object';
    return [toSnake(name), isByArm ? inner : renamed(inner)] as const;
  });
  return Object.fromEntries(entries);
}

/** The core's report. */
export const shownReport = (report: unknown): ShownReport => renamed(report) as ShownReport;

/** The core's off-policy estimates. */
export const shownEstimates = (estimates: unknown): z.infer<typeof estimatesSchema> =>
  renamed(estimates) as z.infer<typeof estimatesSchema>;
