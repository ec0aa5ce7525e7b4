/** `/v1/experiments` and `/v1/feedback`: parameter analytics over HTTP. */
import { createRoute, z } from '@hono/zod-openapi';
import { boundJson } from '../body.ts';
import type { Environment } from '../environment.ts';
import { createRouter, failures, security } from '../openapi.ts';
import {
  definitionSchema,
  featuresSchema,
  isStorable,
  nameSchema,
  settingsSchema,
  storable,
  taskSchema,
} from './definition.ts';
import type { DescribedExperiment, Experiments } from './experiments.ts';
import { estimatesSchema, reportSchema, shownEstimates, shownReport } from './shown.ts';
import type { ListedExperiment } from './store.ts';
import { experimentPage } from './view/page.ts';

/** The probability that any interval of a task is ever wrong, where the client does not say. */
const alphaDefault = 0.05;

const experimentParams = z.object({ name: nameSchema });
const armParams = z.object({ name: nameSchema, arm: nameSchema });

const decisionIdSchema = z.string().regex(/^[0-9a-f]{32}$/, 'must be 32 hexadecimal digits');

const shownArm = z.object({ name: z.string(), settings: z.looseObject({}), active: z.boolean() });
const listedExperiment = z
  .object({
    id: z.string(),
    object: z.literal('experiment'),
    name: z.string(),
    created_at: z.int(),
    ended_at: z.int().nullable(),
  })
  .openapi('ListedExperiment');
const shownExperiment = listedExperiment
  .extend({ definition: z.looseObject({}), arms: z.array(shownArm) })
  .openapi('Experiment');

const decideSchema = z
  .object({ task: taskSchema.default(''), features: featuresSchema.default([]), durable: z.boolean().default(false) })
  .openapi('DecideRequest', { example: { task: 'summary' } });

const decisionSchema = z
  .object({
    decision_id: z.string(),
    object: z.literal('decision'),
    experiment: z.string(),
    arm: z.string().nullable(),
    settings: z.looseObject({}),
    propensity: z.number(),
    proposed: z.object({ arm: z.string(), propensity: z.number() }).nullable(),
  })
  .openapi('Decision');

/** A reward: a number, or yes and no for 1 and 0. */
const valueSchema = z.union([z.number(), z.boolean()]);
const feedbackSchema = z
  .object({ decision_id: decisionIdSchema, rewards: z.record(z.string(), valueSchema) })
  .refine(({ rewards }) => Object.keys(rewards).length > 0, { message: 'must not be empty', path: ['rewards'] })
  .refine(isStorable, storable)
  .openapi('Feedback', {
    example: { decision_id: '0123456789ab0123456789ab01234567', rewards: { accepted: true } },
  });

const feedbackResultSchema = z
  .object({
    decision_id: z.string(),
    object: z.literal('feedback'),
    recorded: z.array(z.string()),
    known: z.array(z.string()),
    decision: z.enum(['known', 'unknown']),
    late: z.boolean(),
  })
  .openapi('FeedbackResult');

const share = z.number().min(0).max(1);
const mixture = z.record(z.string(), share);
const whatIfSchema = z
  .object({
    policy: z.union([
      z.strictObject({ arm: nameSchema }),
      z.strictObject({ mixture }),
      z.strictObject({ by_task: z.record(z.string(), mixture) }),
    ]),
    confidence: z.number().min(0.5).max(0.999).default(0.95),
  })
  .openapi('WhatIfRequest', { example: { policy: { arm: 'cool' } } });

const analysisSchema = reportSchema
  .extend({ object: z.literal('experiment.analysis'), experiment: z.string() })
  .openapi('ExperimentAnalysis');
const whatIfResultSchema = estimatesSchema
  .extend({ object: z.literal('experiment.estimate'), experiment: z.string() })
  .openapi('WhatIfEstimate');

const alphaQuery = z.object({ alpha: z.coerce.number().min(0.0001).max(0.5).default(alphaDefault) });

const json = <Schema extends z.ZodType>(description: string, schema: Schema) => ({
  description,
  content: { 'application/json': { schema } },
});
const body = <Schema extends z.ZodType>(schema: Schema) => ({
  body: { content: { 'application/json': { schema } }, required: true as const },
});

const createRouteOf = createRoute({
  method: 'post',
  path: '/v1/experiments',
  summary: 'Begin an experiment: which settings of a call are the best',
  security,
  middleware: boundJson,
  request: body(definitionSchema),
  responses: { 201: json('The experiment', shownExperiment), ...failures('openai', 409, 429) },
});

const listRoute = createRoute({
  method: 'get',
  path: '/v1/experiments',
  summary: 'The experiments, newest first, 1,000 at most',
  security,
  responses: {
    200: json('The experiments', z.object({ object: z.literal('list'), data: z.array(listedExperiment) })),
    ...failures('openai'),
  },
});

const getRoute = createRoute({
  method: 'get',
  path: '/v1/experiments/{name}',
  summary: 'An experiment and its arms',
  security,
  request: { params: experimentParams },
  responses: { 200: json('The experiment', shownExperiment), ...failures('openai', 404) },
});

const putArmRoute = createRoute({
  method: 'put',
  path: '/v1/experiments/{name}/arms/{arm}',
  summary: 'Add an arm while the experiment runs, change its settings, or bring it back',
  security,
  middleware: boundJson,
  request: { params: armParams, ...body(z.object({ settings: settingsSchema }).openapi('ArmRequest')) },
  responses: { 200: json('The experiment', shownExperiment), ...failures('openai', 404, 409, 429) },
});

const withdrawArmRoute = createRoute({
  method: 'delete',
  path: '/v1/experiments/{name}/arms/{arm}',
  summary: 'Withdraw an arm; what it has shown stays',
  security,
  request: { params: armParams },
  responses: { 200: json('The experiment', shownExperiment), ...failures('openai', 404, 409) },
});

const endRoute = createRoute({
  method: 'post',
  path: '/v1/experiments/{name}/end',
  summary: 'End an experiment: no more decisions, while feedback still counts',
  security,
  request: { params: experimentParams },
  responses: { 200: json('The experiment', shownExperiment), ...failures('openai', 404) },
});

const decideRoute = createRoute({
  method: 'post',
  path: '/v1/experiments/{name}/decide',
  summary: 'Choose an arm for a call',
  security,
  middleware: boundJson,
  request: { params: experimentParams, ...body(decideSchema) },
  responses: { 200: json('The decision', decisionSchema), ...failures('openai', 404, 409, 429) },
});

const feedbackRoute = createRoute({
  method: 'post',
  path: '/v1/feedback',
  summary: 'Rewards for a decision: late, in parts, and more than once',
  security,
  middleware: boundJson,
  request: body(feedbackSchema),
  responses: { 200: json('What became of them; they are stored', feedbackResultSchema), ...failures('openai', 404) },
});

const analysisRoute = createRoute({
  method: 'get',
  path: '/v1/experiments/{name}/analysis',
  summary: 'What an experiment has shown: effects, intervals, regret, traffic, and what is still needed',
  security,
  request: { params: experimentParams, query: alphaQuery },
  responses: { 200: json('The analysis', analysisSchema), ...failures('openai', 404) },
});

const whatIfRoute = createRoute({
  method: 'post',
  path: '/v1/experiments/{name}/what-if',
  summary: 'What another policy would have earned on the logged decisions',
  security,
  middleware: boundJson,
  request: { params: experimentParams, ...body(whatIfSchema) },
  responses: { 200: json('The estimates', whatIfResultSchema), ...failures('openai', 404) },
});

const viewRoute = createRoute({
  method: 'get',
  path: '/v1/experiments/{name}/view',
  summary: 'The analysis as a page with plots',
  security,
  request: { params: experimentParams, query: alphaQuery },
  responses: {
    200: { description: 'The page', content: { 'text/html': { schema: z.string() } } },
    ...failures('openai', 404),
  },
});

const seconds = (milliseconds: number): number => Math.floor(milliseconds / 1e3);

const listed = ({ id, name, createdAtMs, endedAtMs }: ListedExperiment) => ({
  id,
  object: 'experiment' as const,
  name,
  created_at: seconds(createdAtMs),
  ended_at: endedAtMs === null ? null : seconds(endedAtMs),
});

const shown = ({ stored, arms }: DescribedExperiment) => ({
  ...listed(stored),
  definition: { ...stored.definition },
  arms: arms
    .filter((arm) => arm.name !== '')
    .map(({ name, settings, active }) => ({ name, settings: { ...settings }, active })),
});

/** Mounts parameter analytics. */
export function analyticsRoutes({ experiments }: { readonly experiments: Experiments }) {
  const tenantOf = (context: { get(name: 'caller'): Environment['Variables']['caller'] }) =>
    context.get('caller').tenantId;
  return createRouter()
    .openapi(createRouteOf, async (context) => {
      const { arms, ...definition } = context.req.valid('json');
      return context.json(shown(await experiments.create(tenantOf(context), definition, arms)), 201);
    })
    .openapi(listRoute, async (context) => {
      const all = await experiments.list(tenantOf(context));
      return context.json({ object: 'list' as const, data: all.map(listed) }, 200);
    })
    .openapi(getRoute, async (context) => {
      const { name } = context.req.valid('param');
      return context.json(shown(await experiments.describe(tenantOf(context), name)), 200);
    })
    .openapi(putArmRoute, async (context) => {
      const { name, arm } = context.req.valid('param');
      const { settings } = context.req.valid('json');
      return context.json(shown(await experiments.putArm(tenantOf(context), name, arm, settings)), 200);
    })
    .openapi(withdrawArmRoute, async (context) => {
      const { name, arm } = context.req.valid('param');
      return context.json(shown(await experiments.withdrawArm(tenantOf(context), name, arm)), 200);
    })
    .openapi(endRoute, async (context) => {
      const { name } = context.req.valid('param');
      return context.json(shown(await experiments.end(tenantOf(context), name)), 200);
    })
    .openapi(decideRoute, async (context) => {
      const { name } = context.req.valid('param');
      const request = context.req.valid('json');
      const made = await context
        .get('steps')
        .run('decide', () => experiments.decide(tenantOf(context), name, request, context.env.background));
      const { id, arm, settings, propensity, proposed } = made;
      const answer = { decision_id: id, object: 'decision' as const, experiment: name };
      return context.json({ ...answer, ...{ arm, settings: { ...settings }, propensity, proposed } }, 200);
    })
    .openapi(feedbackRoute, async (context) => {
      const { decision_id: id, rewards } = context.req.valid('json');
      const values = Object.fromEntries(Object.entries(rewards).map(([name, value]) => [name, Number(value)]));
      const result = await experiments.feedback(tenantOf(context), id, values, context.env.background);
      const { recorded, known, decidedAtMs, isLate } = result;
      const decision = decidedAtMs === null ? ('unknown' as const) : ('known' as const);
      const answer = { decision_id: id, object: 'feedback' as const, decision, late: isLate };
      return context.json({ ...answer, recorded: [...recorded], known: [...known] }, 200);
    })
    .openapi(analysisRoute, async (context) => {
      const { name } = context.req.valid('param');
      const { alpha } = context.req.valid('query');
      const { report } = await experiments.analyse(tenantOf(context), name, alpha);
      return context.json({ object: 'experiment.analysis' as const, experiment: name, ...shownReport(report) }, 200);
    })
    .openapi(whatIfRoute, async (context) => {
      const { name } = context.req.valid('param');
      const { policy, confidence } = context.req.valid('json');
      const target = 'by_task' in policy ? { byNamespace: policy.by_task } : policy;
      const estimate = await experiments.whatIf(tenantOf(context), name, target, confidence);
      return context.json(
        { object: 'experiment.estimate' as const, experiment: name, ...shownEstimates(estimate) },
        200,
      );
    })
    .openapi(viewRoute, async (context) => {
      const { name } = context.req.valid('param');
      const { alpha } = context.req.valid('query');
      const { stored, report } = await experiments.analyse(tenantOf(context), name, alpha);
      return context.html(experimentPage(stored, shownReport(report)), 200);
    });
}
