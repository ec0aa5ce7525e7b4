/** `POST /infer`: one model, one input, for callers that want neither OpenAI's form nor tensors. */
import { createRoute, z } from '@hono/zod-openapi';
import { boundJson } from '../body.ts';
import { cacheStatus } from '../cache/cache-status.ts';
import { createRouter, failures, security } from '../openapi.ts';
import { callContext } from './call-context.ts';
import { type EmbeddingService, inputsMax } from './embedding.ts';
import { vectorOf } from './engine.ts';

const inferRequest = z
  .object({
    model_id: z.string().min(1).openapi({ example: 'test' }),
    input: z.object({
      text: z.union([z.string(), z.array(z.string()).min(1).max(inputsMax)]).openapi({ example: 'hello' }),
    }),
  })
  .openapi('InferRequest');

const inferResponse = z
  .object({
    model_id: z.string(),
    output: z.object({ dimensions: z.int(), embeddings: z.array(z.array(z.number())) }),
    usage: z.object({ input_tokens: z.int(), truncated_inputs: z.array(z.int()) }),
  })
  .openapi('InferResponse');

const route = createRoute({
  method: 'post',
  path: '/infer',
  summary: 'Run a model; "test" is an alias of the default one',
  security,
  middleware: boundJson,
  request: { body: { content: { 'application/json': { schema: inferRequest } }, required: true } },
  responses: {
    200: { description: 'The result', content: { 'application/json': { schema: inferResponse } } },
    ...failures('problem', 404, 429, 501, 502, 504),
  },
});

/** Mounts `/infer`. */
export function inferRoute(service: EmbeddingService) {
  return createRouter().openapi(route, async (context) => {
    const { model_id, input } = context.req.valid('json');
    const model = await service.modelAnywhere(model_id, context.env.background);
    const texts = typeof input.text === 'string' ? [input.text] : input.text;
    const answer = await service.embed(model, { kind: 'texts', texts }, callContext(context, 'infer'));
    const { batch } = answer;
    const embeddings = texts.map((_, index) => Array.from(vectorOf(batch, index)));
    context.header('cache-status', cacheStatus(answer.outcome));
    const usage = { input_tokens: batch.tokens, truncated_inputs: [...batch.truncated] };
    return context.json({ model_id: model.name, output: { dimensions: batch.dimensions, embeddings }, usage }, 200);
  });
}
