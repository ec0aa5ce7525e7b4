/**
 * `POST /v1/chat/completions`, by the pool where it has the model and else by the upstream, and `GET /v1/models`, all
 * models that this address answers for.
 */
import { createRoute, z } from '@hono/zod-openapi';
import { parseJson, readBody } from '../body.ts';
import type { Configuration } from '../configuration.ts';
import { ApiError } from '../errors.ts';
import type { EmbeddingService } from '../inference/embedding.ts';
import { createRouter, failures, parseRequest, security } from '../openapi.ts';
import type { Background } from '../ports.ts';
import type { Caller } from '../tenancy/caller.ts';
import { type ChatModels, searchDepthHeader } from './chat-models.ts';
import type { Pool } from './pool/pool.ts';
import type { VirtualModels } from './virtual-models.ts';

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
  readonly pool: Pool;
  readonly chat: ChatModels;
  readonly virtualModels: readonly VirtualModels[];
}

/** Searches that a call says it is inside of; what is no count counts as one, so that no damage lets a search loop. */
export function searchDepthOf(header: string | undefined): number {
  if (header === undefined) return 0;
  return /^\d{1,3}$/.test(header) ? Number(header) : 1;
}

/** Mounts the gateway. */
export function gatewayRoutes(services: GatewayServices) {
  const { configuration, embedding, pool, chat, virtualModels } = services;
  const { upstream } = configuration;
  const listed = async (background: Background, caller: Caller) => {
    const own = embedding.engine.models.map(({ name, createdAt }) => toModel(name, createdAt, 'treeline'));
    const ofPool = (await pool.models(background)).map(({ name, createdAt }) => toModel(name, createdAt, 'pool'));
    const chatModels = await chat.names(background);
    const names = await Promise.all(virtualModels.map((one) => one.names(chatModels, caller)));
    const virtual = virtualModels.flatMap(({ owner }, at) => names[at]?.map((name) => toModel(name, 0, owner)) ?? []);
    const all = [...own, ...ofPool, ...upstream.models.map((name) => toModel(name, 0, 'upstream')), ...virtual];
    // A name stands for whoever answers for it first.
    return all.filter(({ id }, at) => all.findIndex((model) => model.id === id) === at);
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
    const body = await readBody(context.req.raw);
    const json = parseJson(body);
    const { model } = parseRequest(chatRequest, json);
    const steps = context.get('steps');
    steps.request.setAttributes({ 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': model });
    const call = {
      caller: context.get('caller'),
      steps,
      signal: context.req.raw.signal,
      background: context.env.background,
      depth: searchDepthOf(context.req.header(searchDepthHeader)),
    };
    const virtual = virtualModels.find(({ prefix }) => model.startsWith(prefix));
    return (virtual ?? chat).answer({ model, json, body }, call);
  });
  return router
    .openapi(modelsRoute, async (context) =>
      context.json({ object: 'list' as const, data: await listed(context.env.background, context.get('caller')) }, 200),
    )
    .openapi(modelRoute, async (context) => {
      const { model } = context.req.valid('param');
      const found = (await listed(context.env.background, context.get('caller'))).find(({ id }) => id === model);
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
