/** `POST /v1/chat/completions`, by the upstream, and `GET /v1/models`, all models that this address answers for. */
import { createRoute, z } from '@hono/zod-openapi';
import { parseJson, readBody } from '../body.ts';
import type { Configuration } from '../configuration.ts';
import { ApiError } from '../errors.ts';
import type { EmbeddingService } from '../inference/embedding.ts';
import { createRouter, failures, parseRequest, security } from '../openapi.ts';
import type { Clock } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { traceparentOf } from '../telemetry/tracing.ts';
import type { UsageLedger } from '../tenancy/usage.ts';
import { passChat } from './chat.ts';
import type { Upstreams } from './upstreams.ts';
import { meterUsage } from './usage-meter.ts';

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
      description: 'Models in the isolate first, then the upstream’s',
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
  readonly usage: UsageLedger;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

/** The model `model` of the upstream may be used unless a list of others is configured. */
function checkModel(model: string, { models }: Configuration['upstream']): void {
  if (models.length === 0 || models.includes(model)) return;
  const message = `No chat model is named "${model.slice(0, 80)}"; there are: ${models.join(', ')}.`;
  throw new ApiError('model_not_found', message, { parameter: 'model' });
}

/** Mounts the gateway. */
export function gatewayRoutes(services: GatewayServices) {
  const { configuration, embedding, upstreams, usage, clock, metrics } = services;
  const { upstream } = configuration;
  const listed = () => [
    ...embedding.engine.models.map(({ name, createdAt }) => toModel(name, createdAt, 'treeline')),
    ...upstream.models.map((name) => toModel(name, 0, 'upstream')),
  ];
  const router = createRouter();
  router.openAPIRegistry.registerPath({
    method: 'post',
    path: '/v1/chat/completions',
    summary: 'Chat by the configured upstream; answers stream as they come',
    security,
    request: { body: { content: { 'application/json': { schema: chatRequest } }, required: true } },
    responses: {
      200: {
        description: 'The upstream’s answer: one object, or server-sent events where stream is true',
        content: { 'application/json': { schema: z.looseObject({}) }, 'text/event-stream': { schema: eventStream } },
      },
      ...failures('openai', 404, 502, 504),
    },
  });
  router.post('/v1/chat/completions', async (context) => {
    const startedAt = clock.elapsed();
    const body = await readBody(context.req.raw);
    const request = parseRequest(chatRequest, parseJson(body));
    checkModel(request.model, upstream);
    const steps = context.get('steps');
    steps.request.setAttributes({ 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': request.model });
    const answer = await steps.run('upstream', (span) =>
      passChat(
        // Called as a method of another object, workerd's fetch refuses ("Illegal invocation").
        { upstreams, apiKey: upstream.apiKey, clock, metrics, fetch: (input, init) => fetch(input, init) },
        { body, traceparent: traceparentOf(span), signal: context.req.raw.signal },
      ),
    );
    const caller = context.get('caller');
    const metered = meterUsage(answer, ({ inputTokens, outputTokens }) => {
      const latencyMs = Math.max(0, clock.elapsed() - startedAt);
      const event = { operation: 'chat', model: request.model, inputTokens, outputTokens, cacheHit: false, latencyMs };
      if (answer.status < 400) usage.record(caller, event);
    });
    context.env.background.run(metered.done.then(() => usage.flush()));
    return new Response(metered.body, { status: answer.status, headers: answer.headers });
  });
  return router
    .openapi(modelsRoute, (context) => context.json({ object: 'list' as const, data: listed() }, 200))
    .openapi(modelRoute, (context) => {
      const { model } = context.req.valid('param');
      const found = listed().find(({ id }) => id === model);
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
