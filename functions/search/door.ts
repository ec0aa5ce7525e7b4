/**
 * The anytime door: a chat call whose model is `abmcts/<model>` is answered by a search over calls of that model. Free of
 * Hono. The answer is OpenAI's, whole or as a stream; what happens on the way comes as `reasoning_content`.
 */
import { z } from 'zod';
import { hex } from '../digest.ts';
import { ApiError, openAiErrorBody, toApiError } from '../errors.ts';
import { type ChatContext, type ChatRequest, searchDepthHeader } from '../gateway/chat-models.ts';
import type { VirtualModels } from '../gateway/virtual-models.ts';
import { parseRequest } from '../openapi.ts';
import type { Clock, Random } from '../ports.ts';
import {
  algorithmFor,
  armsSchema,
  type Message,
  messagesSchema,
  parametersSchema,
  type Scorer,
  type SearchDefinition,
  scorerSchema,
  tuning,
} from './definition.ts';
import type { Entry, EntryOf } from './entries.ts';
import type { SearchService } from './service.ts';
import { errorOf, openAiUsage } from './shown.ts';
import type { SearchState } from './state.ts';

/** Trials of a search inside a chat call at most, and where the call does not say. */
export const doorTrialsMax = 128;
export const doorTrialsDefault = 8;
/** Longest time of a search inside a chat call, and the time where the call does not say, in milliseconds. */
export const doorDeadlineMsMax = 600_000;
export const doorDeadlineMsDefault = 60_000;
/** Answers that a call may want. */
export const choicesMax = 16;
/** Milliseconds of silence after which a stream says that it is alive. By its writing a host notices a client that is gone. */
export const keepAliveMs = 2_000;

const prefix = 'abmcts/';

const absent = (name: string) =>
  z
    .unknown()
    .refine((value) => value === undefined || value === null || value === false, `${name} cannot be searched over`)
    .optional();

const textPart = z.object({ type: z.literal('text'), text: z.string() });
const content = z
  .union([z.string(), z.array(textPart).min(1)], { error: 'must be text, whole or in parts' })
  .transform((value) => (typeof value === 'string' ? value : value.map(({ text }) => text).join('')));

const doorRequest = z.object({
  ...parametersSchema.shape,
  messages: z.array(z.object({ role: z.string(), content })).pipe(messagesSchema),
  n: z.int().min(1).max(choicesMax).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  tools: absent('a call with tools'),
  functions: absent('a call with functions'),
  logprobs: absent('a call with logprobs'),
  treeline: z
    .object({
      search: z
        .strictObject({
          ...tuning,
          arms: armsSchema.optional(),
          scorer: scorerSchema.optional(),
          budget: z
            .strictObject({
              trials: z.int().min(1).max(doorTrialsMax).optional(),
              tokens: z.int().min(1).max(1_000_000_000).optional(),
            })
            .default({}),
          deadline_ms: z.int().min(100).max(doorDeadlineMsMax).default(doorDeadlineMsDefault),
        })
        .prefault({}),
    })
    .prefault({}),
});

type DoorRequest = z.infer<typeof doorRequest>;

interface DoorServices {
  readonly search: SearchService;
  readonly clock: Clock;
  readonly random: Random;
}

/** What stands in every piece of one answer. */
interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

/** The models `abmcts/…`. */
export function searchDoor(services: DoorServices): VirtualModels {
  return {
    prefix,
    owner: 'treeline',
    names: (chatModels) => chatModels.map((name) => `${prefix}${name}`),
    answer: (request, context) => answer(services, request, context),
  };
}

async function answer(services: DoorServices, { model, json }: ChatRequest, context: ChatContext): Promise<Response> {
  refuseLoops(context.depth);
  const request = parseRequest(doorRequest, withoutNulls(json));
  const definition = definitionOf(request, model.slice(prefix.length), services.search.seed());
  if (definition.scorer.type === 'client') {
    throw new ApiError(
      'invalid_request',
      'The client cannot score inside of a chat call; POST /v1/search is for that.',
      { parameter: 'treeline.search.scorer' },
    );
  }
  await services.search.check(definition, context.background);
  const started = services.search.start(definition, request.treeline.search.deadline_ms, context.caller);
  const head = {
    id: `chatcmpl-${hex(services.random.bytes(12))}`,
    created: Math.floor(services.clock.now() / 1e3),
    model,
  };
  if (request.stream === true) return streamed(services, started, request, head, context);
  const state = await services.search.runHere(started, context, () => {});
  return Response.json(completion(state, request, head));
}

/** Refuses a search inside of a search: through an upstream that is this deployment it would go on for ever. */
export function refuseLoops(depth: number): void {
  if (depth > 0)
    throw new ApiError('search_loop', `The call comes from inside of a search (${searchDepthHeader}: ${depth}).`);
}

/** Clients send null for what they leave out. */
function withoutNulls(json: unknown): unknown {
  if (typeof json !== 'object' || json === null) return json;
  return Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null));
}

/** The scorer of a call that names none: the schema that it wants, or its own model as a judge. */
function scorerFor(request: DoorRequest, model: string): Scorer {
  const { response_format: format } = request;
  if (format?.type === 'json_object')
    return parseRequest(scorerSchema, { type: 'json_schema', schema: { type: 'object' } });
  if (format?.type === 'json_schema') {
    const { schema = true } = (format.json_schema ?? {}) as { schema?: unknown };
    return parseRequest(scorerSchema, { type: 'json_schema', schema });
  }
  return { type: 'judge', model, parameters: {} };
}

function definitionOf(request: DoorRequest, model: string, seed: number): SearchDefinition {
  const { search } = request.treeline;
  const parameters = parametersSchema.strip().parse(request);
  const scorer = search.scorer ?? scorerFor(request, model);
  const trials = search.budget.trials ?? Math.max(doorTrialsDefault, request.n ?? 1);
  if ((request.n ?? 1) > trials) {
    throw new ApiError('invalid_request', 'n: there cannot be more answers than trials', { parameter: 'n' });
  }
  return {
    messages: request.messages as Message[],
    arms: search.arms ?? parseRequest(armsSchema, [{ model, parameters }]),
    scorer,
    budget: { trials, tokens: search.budget.tokens },
    algorithm: algorithmFor(search.algorithm, scorer),
    strategy: search.strategy,
    distribution: search.distribution,
    concurrency: search.concurrency,
    trial_timeout_ms: search.trial_timeout_ms,
    score_reached: search.score_reached,
    gain_least: search.gain_least,
    seed: search.seed ?? seed,
  };
}

/** The failure of a search that has no answer. */
function failureOf(state: SearchState): ApiError {
  const error = errorOf(state);
  if (error === null || state.reason === 'deadline') {
    return new ApiError('upstream_timeout', 'The search’s deadline came before its first answer.');
  }
  return new ApiError('search_failed', error.message);
}

const finishReasons = new Set(['stop', 'length', 'content_filter']);

/** The best answers as OpenAI's choices. @throws ApiError search_failed, upstream_timeout */
function choicesOf(state: SearchState, count: number) {
  const answers = state.answers(count);
  if (answers.length === 0) throw failureOf(state);
  return answers.map(({ text, finishReason }, index) => ({
    index,
    text,
    reason: finishReasons.has(finishReason) ? finishReason : 'stop',
  }));
}

/** What the search did, beside OpenAI's fields. */
function treelineOf(state: SearchState, count: number) {
  const scores = state.answers(count).map(({ score }) => score);
  const { algorithm } = state.definition;
  const trials = { asked: state.trials.length, failed: state.failures };
  return { search: { algorithm, reason: state.reason, partial: state.isPartial, trials, scores, usage: state.usage } };
}

function completion(state: SearchState, request: DoorRequest, head: Head) {
  const count = request.n ?? 1;
  return {
    ...head,
    object: 'chat.completion',
    choices: choicesOf(state, count).map(({ index, text, reason }) => ({
      index,
      message: { role: 'assistant', content: text, refusal: null },
      logprobs: null,
      finish_reason: reason,
    })),
    usage: openAiUsage(state.usage),
    treeline: treelineOf(state, count),
  };
}

function streamed(
  { search }: DoorServices,
  started: EntryOf<'started'>,
  request: DoorRequest,
  head: Head,
  context: ChatContext,
): Response {
  const left = new AbortController();
  const signal = AbortSignal.any([context.signal, left.signal]);
  const encoder = new TextEncoder();
  const hasUsage = request.stream_options?.include_usage === true;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const write = (text: string) => {
        if (!signal.aborted) controller.enqueue(encoder.encode(text));
      };
      const chunk = (choices: object[], more: object = {}) =>
        write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices, ...more })}\n\n`);
      const delta = (index: number, said: object, reason: string | null = null) =>
        chunk([{ index, delta: said, logprobs: null, finish_reason: reason }]);
      const keepAlive = setInterval(() => write(': searching\n\n'), keepAliveMs);
      const finish = (state: SearchState) => {
        const count = request.n ?? 1;
        for (const { index, text, reason } of choicesOf(state, count)) {
          delta(index, index === 0 ? { content: text } : { role: 'assistant', content: text });
          delta(index, {}, reason);
        }
        chunk([], { ...(hasUsage ? { usage: openAiUsage(state.usage) } : {}), treeline: treelineOf(state, count) });
        write('data: [DONE]\n\n');
      };
      delta(0, { role: 'assistant', content: '' });
      search
        .runHere(started, { ...context, signal }, (entry, state) => {
          const progress = progressOf(entry, state);
          if (progress !== null) delta(0, { reasoning_content: `${progress}\n` });
        })
        .then(finish)
        // The head is long gone: OpenAI's clients read a failure from an event, and the missing [DONE].
        .catch((thrown: unknown) =>
          write(`data: ${JSON.stringify(openAiErrorBody(toApiError(thrown), context.steps.traceId))}\n\n`),
        )
        .finally(() => {
          clearInterval(keepAlive);
          if (!signal.aborted) controller.close();
        });
    },
    cancel() {
      left.abort();
    },
  });
  return new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' } });
}

const percent = (score: number | null | undefined): string => (score ?? 0).toFixed(2);

/** One entry as a line for people; null where there is nothing to say. */
function progressOf(entry: Entry, state: SearchState): string | null {
  switch (entry.type) {
    case 'asked':
      return entry.trials
        .map(({ id, parent, arm }) => {
          const model = state.definition.arms[arm]?.model ?? '';
          return `Trial ${id}: ${model} ${parent === 0 ? 'answers afresh' : `refines answer ${parent}`}.`;
        })
        .join('\n');
    case 'scored': {
      const best = percent(state.answers(1)[0]?.score);
      return `Trial ${entry.trial}: scored ${percent(entry.score)}; the best so far is ${best}.`;
    }
    case 'failed':
      return `Trial ${entry.trial}: failed (${entry.message})`;
    case 'finished':
      return `The search ends: ${entry.reason.replaceAll('_', ' ')}.`;
    default:
      return null;
  }
}
