/** `POST /v1/embeddings` as OpenAI defines it, and `/v1/similarity` and `/v1/rerank` beside it. */
import { Buffer } from 'node:buffer';
import { createRoute, z } from '@hono/zod-openapi';
import { boundJson } from '../body.ts';
import { cacheStatus } from '../cache/cache-status.ts';
import { ApiError } from '../errors.ts';
import { createRouter, failures, security } from '../openapi.ts';
import { callContext } from './call-context.ts';
import { type EmbeddingAnswer, type EmbeddingService, inputsMax, shorten } from './embedding.ts';
import { type EmbeddingInputs, vectorOf } from './engine.ts';
import { rankAgainstFirst, similarity } from './ranking.ts';

/** Model that answers when a request of ours names none. */
export const defaultModel = 'all-minilm-l6-v2';

const tokenId = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);
const tokenSequence = z.array(tokenId);
const inputSchema = z
  .union([z.string(), z.array(z.string()), tokenSequence, z.array(tokenSequence)], {
    error: 'must be a string, an array of strings, an array of token ids, or an array of such arrays',
  })
  .openapi({ example: 'hello world' });

const usageSchema = z
  .object({
    prompt_tokens: z.int(),
    total_tokens: z.int(),
    truncated_inputs: z.array(z.int()).optional().openapi({
      description: 'Indices of the inputs that were longer than the model reads; only their beginning was used.',
    }),
  })
  .openapi('EmbeddingUsage');

const embeddingRequest = z
  .object({
    model: z.string().min(1).openapi({ example: defaultModel }),
    input: inputSchema,
    dimensions: z.int().min(1).optional(),
    encoding_format: z.enum(['float', 'base64']).default('float'),
    user: z.string().optional(),
  })
  .openapi('EmbeddingRequest');

const embeddingResponse = z
  .object({
    object: z.literal('list'),
    data: z.array(
      z.object({
        object: z.literal('embedding'),
        index: z.int(),
        embedding: z.union([z.array(z.number()), z.string()]),
      }),
    ),
    model: z.string(),
    usage: usageSchema,
  })
  .openapi('EmbeddingResponse');

const embeddingRoute = createRoute({
  method: 'post',
  path: '/v1/embeddings',
  summary: 'Embed texts or token ids',
  security,
  middleware: boundJson,
  request: { body: { content: { 'application/json': { schema: embeddingRequest } }, required: true } },
  responses: {
    200: { description: 'One unit vector an input', content: { 'application/json': { schema: embeddingResponse } } },
    ...failures('openai', 404, 429, 501, 502, 504),
  },
});

const similarityRequest = z
  .object({
    model: z.string().min(1).default(defaultModel),
    source: z.string().openapi({ example: 'A cat sits on the mat' }),
    texts: z
      .array(z.string())
      .min(1)
      .max(inputsMax - 1)
      .openapi({ example: ['A feline rests', 'Stocks fell'] }),
  })
  .openapi('SimilarityRequest');

const similarityResponse = z
  .object({
    object: z.literal('list'),
    data: z.array(z.object({ object: z.literal('similarity'), index: z.int(), score: z.number() })),
    model: z.string(),
    usage: usageSchema,
  })
  .openapi('SimilarityResponse');

const similarityRoute = createRoute({
  method: 'post',
  path: '/v1/similarity',
  summary: 'Cosine similarity of texts to a source text',
  security,
  middleware: boundJson,
  request: { body: { content: { 'application/json': { schema: similarityRequest } }, required: true } },
  responses: {
    200: { description: 'One score a text, in order', content: { 'application/json': { schema: similarityResponse } } },
    ...failures('openai', 404, 429, 501, 502, 504),
  },
});

const documentSchema = z.union([z.string(), z.object({ text: z.string() })]);

const rerankRequest = z
  .object({
    model: z.string().min(1).default(defaultModel),
    query: z.string().openapi({ example: 'How do I reset my password?' }),
    documents: z
      .array(documentSchema)
      .min(1)
      .max(inputsMax - 1),
    top_n: z.int().min(1).optional(),
    return_documents: z.boolean().default(false),
  })
  .openapi('RerankRequest');

const rerankResponse = z
  .object({
    object: z.literal('list'),
    results: z.array(
      z.object({ index: z.int(), relevance_score: z.number(), document: z.object({ text: z.string() }).optional() }),
    ),
    model: z.string(),
    usage: usageSchema,
  })
  .openapi('RerankResponse');

const rerankRoute = createRoute({
  method: 'post',
  path: '/v1/rerank',
  summary: 'Order documents by their similarity to a query',
  security,
  middleware: boundJson,
  request: { body: { content: { 'application/json': { schema: rerankRequest } }, required: true } },
  responses: {
    200: { description: 'Best first', content: { 'application/json': { schema: rerankResponse } } },
    ...failures('openai', 404, 429, 501, 502, 504),
  },
});

/** Tells texts from token ids. An empty array is neither, and is refused later as having no input. */
export function toInputs(input: z.infer<typeof inputSchema>): EmbeddingInputs {
  if (typeof input === 'string') return { kind: 'texts', texts: [input] };
  const [first] = input;
  if (first === undefined || typeof first === 'string') return { kind: 'texts', texts: input as string[] };
  if (typeof first === 'number') return { kind: 'tokens', sequences: [input as number[]] };
  return { kind: 'tokens', sequences: input as number[][] };
}

function usageOf({ batch }: EmbeddingAnswer): z.infer<typeof usageSchema> {
  const { tokens, truncated } = batch;
  const counted = { prompt_tokens: tokens, total_tokens: tokens };
  return truncated.length === 0 ? counted : { ...counted, truncated_inputs: [...truncated] };
}

/** OpenAI's base64 form: the vector's floats, little-endian. */
function encode(vector: Float32Array, format: 'float' | 'base64'): number[] | string {
  if (format === 'float') return Array.from(vector);
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64');
}

/** Refuses more numbers a vector than there are. */
function checkDimensions(model: string, there: number, wanted: number | undefined): void {
  if (wanted === undefined || wanted <= there) return;
  const message = `dimensions: ${model} has ${there}, so ${wanted} is too many.`;
  throw new ApiError('invalid_request', message, { parameter: 'dimensions' });
}

/** Mounts the three routes on `service`. */
export function openAiRoutes(service: EmbeddingService) {
  return createRouter()
    .openapi(embeddingRoute, async (context) => {
      const request = context.req.valid('json');
      const model = await service.modelAnywhere(request.model, context.env.background);
      // Before anything is computed, where that can be known.
      if (model.kind !== 'remote') checkDimensions(model.name, model.dimensions, request.dimensions);
      const answer = await service.embed(model, toInputs(request.input), callContext(context, 'embeddings'));
      checkDimensions(model.name, answer.batch.dimensions, request.dimensions);
      const batch = shorten(answer.batch, request.dimensions ?? answer.batch.dimensions);
      const data = Array.from({ length: batch.count }, (_, index) => ({
        object: 'embedding' as const,
        index,
        embedding: encode(vectorOf(batch, index), request.encoding_format),
      }));
      context.header('cache-status', cacheStatus(answer.outcome));
      return context.json({ object: 'list' as const, data, model: model.name, usage: usageOf(answer) }, 200);
    })
    .openapi(similarityRoute, async (context) => {
      const request = context.req.valid('json');
      const model = await service.modelAnywhere(request.model, context.env.background);
      const inputs = { kind: 'texts' as const, texts: [request.source, ...request.texts] };
      const answer = await service.embed(model, inputs, callContext(context, 'similarity'));
      const data = request.texts.map((_, index) => ({
        object: 'similarity' as const,
        index,
        score: similarity(answer.batch, 0, index + 1),
      }));
      context.header('cache-status', cacheStatus(answer.outcome));
      return context.json({ object: 'list' as const, data, model: model.name, usage: usageOf(answer) }, 200);
    })
    .openapi(rerankRoute, async (context) => {
      const request = context.req.valid('json');
      const model = await service.modelAnywhere(request.model, context.env.background);
      const texts = request.documents.map((document) => (typeof document === 'string' ? document : document.text));
      const inputs = { kind: 'texts' as const, texts: [request.query, ...texts] };
      const answer = await service.embed(model, inputs, callContext(context, 'rerank'));
      const results = rankAgainstFirst(answer.batch, request.top_n ?? texts.length).map(({ index, score }) => ({
        index,
        relevance_score: score,
        ...(request.return_documents ? { document: { text: texts[index] ?? '' } } : {}),
      }));
      context.header('cache-status', cacheStatus(answer.outcome));
      return context.json({ object: 'list' as const, results, model: model.name, usage: usageOf(answer) }, 200);
    });
}
