/**
 * `POST /v1/chat/completions`, by the pool where it has the model and else by the upstream, and `GET /v1/models`, all
 * models that this address answers for.
 */
import { createRoute, z } from '@hono/zod-openapi';
import { parseJson, readBody } from '../body.ts';
import type { Configuration } from '../configuration.ts';
import type { RequestContext } from '../environment.ts';
import { ApiError } from '../errors.ts';
import type { EmbeddingService } from '../inference/embedding.ts';
import { createRouter, failures, parseRequest, security } from '../openapi.ts';
import type { Background, Clock, Random } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { traceparentOf } from '../telemetry/tracing.ts';
import type { UsageLedger } from '../tenancy/usage.ts';
import { passChat } from './chat.ts';
import { poolChat } from './pool/chat.ts';
import type { Pool } from './pool/pool.ts';
import type { Upstreams } from './upstreams.ts';
import { meterUsage, type TokenCounts } from './usage-meter.ts';

/** Longest name of a model, as the table of usage keeps it. */
const modelNameLengthMax = 200;

/** Whether the database takes `text`: JSON there holds neither zero characters nor half a surrogate pair. */
const isPrintable = (text: string): boolean => text.isWellFormed() && !/\p{Cc}/u.test(text);

const chatRequest = z
  .looseObject({
    model: z.string().min(1).max(modelNameLengthMax).refine(isPrintable, 'must not hold control characters'),
    messages: z.array(z.looseObject({ role: z.string() })).min(1),
    stream: z.boolean().nullish(),
  })
  .openapi('ChatCompletionRequest', {
    example: { model: 'any', messages: [{ role: 'user', content: 'Say hello' }] },
  });

/** OpenAPI 3.1 has no schema for a stream of events: tools take one for the text as a whole, or for each event. */
const eventStream = z.unknown().openapi({ description: 'Server-sent events, one chunk each; the last is [DONE].' });

const modelSchema = z
  .object({ id: z.string(), object: z.literal('model'), created: z.int(), owned_by: z.string() })
  .openapi('Model');

const modelsRoute = createRoute({
  method: 'get',
  path: '/v1/models',
  summary: 'The models that this address answers for',
  security,
  responses: {
    200: {
      description: 'Models in the isolate first, then the pool’s and the upstream’s',
      content: { 'application/json': { schema: z.object({ object: z.literal('list'), data: z.array(modelSchema) }) } },
    },
    ...failures('openai'),
  },
});

const modelRoute = createRoute({
  method: 'get',
  path: '/v1/models/{model}',
  summary: 'One model',
  security,
  request: { params: z.object({ model: z.string() }) },
  responses: {
    200: { description: 'The model', content: { 'application/json': { schema: modelSchema } } },
    ...failures('openai', 404),
  },
});

/** What the gateway is made of. */
export interface GatewayServices {
  readonly configuration: Configuration;
  readonly embedding: EmbeddingService;
  readonly upstreams: Upstreams;
  readonly pool: Pool;
  readonly usage: UsageLedger;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
}

/** Whether the upstream may be asked for `model`: one that is listed, or any where none is. */
const isOfUpstream = (model: string, { baseUrls, models }: Configuration['upstream']): boolean =>
  baseUrls.length > 0 && (models.length === 0 || models.includes(model));

/** Mounts the gateway. */
export function gatewayRoutes(services: GatewayServices) {
  const { configuration, embedding, upstreams, pool, usage, clock, random, metrics } = services;
  const { upstream } = configuration;
  const listed = async (background: Background) => {
    const own = embedding.engine.models.map(({ name, createdAt }) => toModel(name, createdAt, 'treeline'));
    const ofPool = (await pool.models(background)).map(({ name, createdAt }) => toModel(name, createdAt, 'pool'));
    const all = [...own, ...ofPool, ...upstream.models.map((name) => toModel(name, 0, 'upstream'))];
    // A name stands for whoever answers for it first.
    return all.filter(({ id }, at) => all.findIndex((model) => model.id === id) === at);
  };
  /** Why nobody answers for `model`. */
  const nobody = async (model: string, background: Background): Promise<ApiError> => {
    const ofPool = await pool.models(background);
    const chat = ofPool.filter(({ capabilities }) => capabilities.has('generate')).map(({ name }) => name);
    const known = [...chat, ...upstream.models];
    if (known.length > 0) {
      const message = `No chat model is named "${model.slice(0, 80)}"; there are: ${known.join(', ')}.`;
      return new ApiError('model_not_found', message, { parameter: 'model' });
    }
    if (configuration.pool.directoryUrls.length > 0) return new ApiError('pool_unavailable');
    return new ApiError(
      'upstream_not_configured',
      'No chat model is configured: set POOL_DIRECTORY_URL to a node of the inference pool, or UPSTREAM_BASE_URL to an ' +
        'OpenAI-compatible address that ends in /v1.',
    );
  };
  const record = (context: RequestContext, model: string, startedAt: number, counts: TokenCounts): void => {
    const latencyMs = Math.max(0, clock.elapsed() - startedAt);
    usage.record(context.get('caller'), { operation: 'chat', model, ...counts, cacheHit: false, latencyMs });
  };
  const router = createRouter();
  router.openAPIRegistry.registerPath({
    method: 'post',
    path: '/v1/chat/completions',
    summary: 'Chat by the inference pool, or by the configured upstream; answers stream as they come',
    security,
    request: { body: { content: { 'application/json': { schema: chatRequest } }, required: true } },
    responses: {
      200: {
        description: 'The answer: one object, or server-sent events where stream is true',
        content: { 'application/json': { schema: z.looseObject({}) }, 'text/event-stream': { schema: eventStream } },
      },
      ...failures('openai', 404, 429, 501, 502, 504),
    },
  });
  router.post('/v1/chat/completions', async (context) => {
    const startedAt = clock.elapsed();
    const { background } = context.env;
    const { signal } = context.req.raw;
    const body = await readBody(context.req.raw);
    const json = parseJson(body);
    const { model } = parseRequest(chatRequest, json);
    const steps = context.get('steps');
    steps.request.setAttributes({ 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': model });
    if (await pool.has(model, 'generate', background)) {
      const salt = context.get('caller').tenantId;
      const { response, done } = await steps.run('pool', (span) => {
        const call = { request: json, salt, traceparent: traceparentOf(span), traceId: steps.traceId };
        return poolChat({ pool, clock, random }, { ...call, signal, background });
      });
      background.run(done.then((counts) => record(context, model, startedAt, counts)).then(() => usage.flush()));
      return response;
    }
    if (!isOfUpstream(model, upstream)) throw await nobody(model, background);
    const answer = await steps.run('upstream', (span) =>
      passChat(
        // Called as a method of another object, workerd's fetch refuses ("Illegal invocation").
        { upstreams, apiKey: upstream.apiKey, clock, metrics, fetch: (input, init) => fetch(input, init) },
        { body, traceparent: traceparentOf(span), signal },
      ),
    );
    const metered = meterUsage(answer, (counts) => {
      if (answer.status < 400) record(context, model, startedAt, counts);
    });
    background.run(metered.done.then(() => usage.flush()));
    return new Response(metered.body, { status: answer.status, headers: answer.headers });
  });
  return router
    .openapi(modelsRoute, async (context) =>
      context.json({ object: 'list' as const, data: await listed(context.env.background) }, 200),
    )
    .openapi(modelRoute, async (context) => {
      const { model } = context.req.valid('param');
      const found = (await listed(context.env.background)).find(({ id }) => id === model);
      if (found === undefined) throw new ApiError('model_not_found', `No model is named "${model.slice(0, 80)}".`);
      return context.json(found, 200);
    });
}

const toModel = (id: string, created: number, ownedBy: string) => ({
  id,
  object: 'model' as const,
  created,
  owned_by: ownedBy,
});
