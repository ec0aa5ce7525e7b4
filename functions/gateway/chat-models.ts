/**
 * Chat models by name, wherever they compute: in the pool, or at the upstream. The one way to both, for the route that
 * passes answers on as they come and for the capabilities that read them. Records what each call used. Free of Hono.
 */
import { z } from 'zod';
import type { Configuration } from '../configuration.ts';
import { ApiError } from '../errors.ts';
import type { Background, Clock, Random } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type Steps, traceparentOf } from '../telemetry/tracing.ts';
import type { Caller } from '../tenancy/caller.ts';
import type { UsageLedger } from '../tenancy/usage.ts';
import { passChat } from './chat.ts';
import { poolChat } from './pool/chat.ts';
import type { Pool } from './pool/pool.ts';
import type { Upstreams } from './upstreams.ts';
import { meterUsage, type TokenCounts } from './usage-meter.ts';

/** The header that counts how many searches a chat call is inside of, so that no search calls itself. */
export const searchDepthHeader = 'treeline-search-depth';
/** Bytes of an answer that `complete` reads at most. */
export const completionBytesMax = 1_048_576;

/** What chat models are reached with. */
export interface ChatServices {
  readonly configuration: Configuration;
  readonly upstreams: Upstreams;
  readonly pool: Pool;
  readonly usage: UsageLedger;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
}

/** On whose behalf a call is made, and how it is ended and traced. */
export interface ChatContext {
  readonly caller: Caller;
  readonly steps: Steps;
  readonly signal: AbortSignal;
  readonly background: Background;
  /** Searches that the call is inside of; 0 for a client's own. */
  readonly depth: number;
}

/** A request as it came: its bytes, and the JSON in them, whose `model` is `model`. */
export interface ChatRequest {
  readonly model: string;
  readonly json: unknown;
  readonly body: Uint8Array;
}

/** A whole answer, read. */
export interface Completion {
  readonly text: string;
  readonly finishReason: string;
  readonly usage: TokenCounts;
}

const completionSchema = z.object({
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }),
        finish_reason: z.string().nullish(),
      }),
    )
    .min(1),
  usage: z.object({ prompt_tokens: z.int().min(0).nullish(), completion_tokens: z.int().min(0).nullish() }).nullish(),
});

/** Whether the upstream may be asked for `model`: one that is listed, or any where none is. */
const isOfUpstream = (model: string, { baseUrls, models }: Configuration['upstream']): boolean =>
  baseUrls.length > 0 && (models.length === 0 || models.includes(model));

/** The chat models; one an isolate. */
export class ChatModels {
  readonly #services: ChatServices;

  constructor(services: ChatServices) {
    this.#services = services;
  }

  /** Names of all models that chat, as far as they are known: an upstream without a list takes others too. */
  async names(background: Background): Promise<string[]> {
    const ofPool = await this.#services.pool.models(background);
    const chat = ofPool.filter(({ capabilities }) => capabilities.has('generate')).map(({ name }) => name);
    return [...new Set([...chat, ...this.#services.configuration.upstream.models])];
  }

  /** Throws the reason where nobody answers for `model`. @throws ApiError */
  async check(model: string, background: Background): Promise<void> {
    const { pool, configuration } = this.#services;
    if (await pool.has(model, 'generate', background)) return;
    if (!isOfUpstream(model, configuration.upstream)) throw await this.#nobody(model, background);
  }

  /** The answer, whole or as a stream, as whoever makes it gives it. @throws ApiError */
  async answer(request: ChatRequest, context: ChatContext): Promise<Response> {
    const { pool, clock, configuration } = this.#services;
    const startedAt = clock.elapsed();
    if (await pool.has(request.model, 'generate', context.background)) return this.#ofPool(request, context, startedAt);
    if (isOfUpstream(request.model, configuration.upstream)) return this.#ofUpstream(request, context, startedAt);
    throw await this.#nobody(request.model, context.background);
  }

  /** A whole answer with one choice, read. `request` is OpenAI's, without `stream`. @throws ApiError */
  async complete(
    request: { readonly model: string } & Record<string, unknown>,
    context: ChatContext,
  ): Promise<Completion> {
    const body = new TextEncoder().encode(JSON.stringify(request));
    const response = await this.answer({ model: request.model, json: request, body }, context);
    const text = await readText(response);
    if (!response.ok) throw refused(response.status, text);
    const parsed = completionSchema.safeParse(jsonOf(text));
    const [choice] = parsed.data?.choices ?? [];
    if (!parsed.success || choice === undefined) {
      throw new ApiError('upstream_failed', 'The model’s answer is no chat completion.');
    }
    const { prompt_tokens: inputTokens, completion_tokens: outputTokens } = parsed.data.usage ?? {};
    return {
      text: choice.message.content ?? choice.message.refusal ?? '',
      finishReason: choice.finish_reason ?? 'stop',
      usage: { inputTokens: inputTokens ?? 0, outputTokens: outputTokens ?? 0 },
    };
  }

  async #ofPool({ json }: ChatRequest, context: ChatContext, startedAt: number): Promise<Response> {
    const { pool, clock, random, usage } = this.#services;
    const { caller, steps, signal, background } = context;
    const { response, done } = await steps.run('pool', (span) => {
      const call = { request: json, salt: caller.tenantId, traceparent: traceparentOf(span), traceId: steps.traceId };
      return poolChat({ pool, clock, random }, { ...call, signal, background });
    });
    const model = String((json as { model: unknown }).model);
    background.run(done.then((counts) => this.#record(context, model, startedAt, counts)).then(() => usage.flush()));
    return response;
  }

  async #ofUpstream({ body, model }: ChatRequest, context: ChatContext, startedAt: number): Promise<Response> {
    const { upstreams, clock, metrics, usage, configuration } = this.#services;
    const { signal, depth } = context;
    const answer = await context.steps.run('upstream', (span) =>
      passChat(
        // Called as a method of another object, workerd's fetch refuses ("Illegal invocation").
        {
          upstreams,
          apiKey: configuration.upstream.apiKey,
          clock,
          metrics,
          fetch: (input, init) => fetch(input, init),
        },
        {
          body,
          traceparent: traceparentOf(span),
          signal,
          headers: depth === 0 ? {} : { [searchDepthHeader]: String(depth) },
        },
      ),
    );
    const metered = meterUsage(answer, (counts) => {
      if (answer.status < 400) this.#record(context, model, startedAt, counts);
    });
    context.background.run(metered.done.then(() => usage.flush()));
    return new Response(metered.body, { status: answer.status, headers: answer.headers });
  }

  #record({ caller }: ChatContext, model: string, startedAt: number, counts: TokenCounts): void {
    const { usage, clock } = this.#services;
    const latencyMs = Math.max(0, clock.elapsed() - startedAt);
    usage.record(caller, { operation: 'chat', model, ...counts, cacheHit: false, latencyMs });
  }

  /** Why nobody answers for `model`. */
  async #nobody(model: string, background: Background): Promise<ApiError> {
    const known = await this.names(background);
    if (known.length > 0) {
      const message = `No chat model is named "${model.slice(0, 80)}"; there are: ${known.join(', ')}.`;
      return new ApiError('model_not_found', message, { parameter: 'model' });
    }
    if (this.#services.configuration.pool.directoryUrls.length > 0) return new ApiError('pool_unavailable');
    return new ApiError(
      'upstream_not_configured',
      'No chat model is configured: set POOL_DIRECTORY_URL to a node of the inference pool, or UPSTREAM_BASE_URL to an ' +
        'OpenAI-compatible address that ends in /v1.',
    );
  }
}

/** The body as text, up to `completionBytesMax`. */
async function readText(response: Response): Promise<string> {
  if (response.body === null) return '';
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  try {
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      bytes += step.value.byteLength;
      if (bytes > completionBytesMax) {
        await reader.cancel();
        throw new ApiError('upstream_failed', `The model’s answer is longer than ${completionBytesMax} bytes.`);
      }
      text += decoder.decode(step.value, { stream: true });
    }
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    throw new ApiError('upstream_failed', 'The model’s answer broke off.', { cause });
  }
  return text + decoder.decode();
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Characters of an upstream's own reason that are passed on. */
const reasonLengthMax = 300;

/** The failure behind an upstream's answer with an error status. */
function refused(status: number, text: string): ApiError {
  const parsed = z.object({ error: z.object({ message: z.string() }) }).safeParse(jsonOf(text));
  const reason = parsed.success ? `: ${parsed.data.error.message.slice(0, reasonLengthMax)}` : '.';
  if (status === 429) return new ApiError('overloaded', `The upstream is busy${reason}`);
  if (status >= 400 && status < 500) return new ApiError('invalid_request', `The upstream refused the call${reason}`);
  return new ApiError('upstream_failed', `The upstream answered ${status}${reason}`);
}
