/** A chat call by the pool: OpenAI's request in, OpenAI's answer out, whole or as it comes. Free of Hono. */
import { hex } from '../../digest.ts';
import { openAiErrorBody } from '../../errors.ts';
import { parseRequest } from '../../openapi.ts';
import { poolFailure } from '../../pool-client/failures.ts';
import type { GenerateResponse, Usage } from '../../pool-client/gen/services_pb.js';
import type { Background, Clock, Random } from '../../ports.ts';
import type { TokenCounts } from '../usage-meter.ts';
import { type AnswerHead, ChunkMaker, CompletionMaker } from './chat-answer.ts';
import { beginningOf, poolChatRequest, toGenerateRequest } from './chat-request.ts';
import type { Pool } from './pool.ts';

/** Longest time that an answer may take, in milliseconds. */
export const generateTimeoutMs = 300_000;

interface PoolChatPorts {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly random: Random;
}

/** What one call comes with. */
export interface PoolChatCall {
  /** The request's JSON. */
  readonly request: unknown;
  /** Keeps one tenant's caches apart from another's. */
  readonly salt: string;
  readonly traceparent: string;
  readonly traceId: string;
  /** Aborts with the client's connection. */
  readonly signal: AbortSignal;
  readonly background: Background;
}

/** The answer, and what it used once it has ended. */
export interface PoolChatAnswer {
  readonly response: Response;
  readonly done: Promise<TokenCounts>;
}

/** Counts what passes, for answers that break off before their usage comes. */
class Counter {
  #usage: Usage | undefined;
  #tokens = 0;

  add({ ids, usage }: GenerateResponse): void {
    this.#tokens += ids.length;
    this.#usage = usage ?? this.#usage;
  }

  get counts(): TokenCounts {
    const { promptTokens = 0, completionTokens = this.#tokens } = this.#usage ?? {};
    return { inputTokens: promptTokens, outputTokens: completionTokens };
  }
}

/** Generates the answer. @throws ApiError */
export async function poolChat(ports: PoolChatPorts, call: PoolChatCall): Promise<PoolChatAnswer> {
  const request = parseRequest(poolChatRequest, call.request);
  const generate = toGenerateRequest(request, call.salt);
  // Ends the generation where the client stops reading: not every host ends the request's own signal then.
  const reader = new AbortController();
  const messages = await ports.pool.stream(
    {
      wanted: { model: request.model, capability: 'generate' },
      key: beginningOf(request, call.salt),
      signal: AbortSignal.any([call.signal, reader.signal]),
      traceparent: call.traceparent,
      timeoutMs: generateTimeoutMs,
      background: call.background,
    },
    (client, options) => client.inference.generate(generate, options),
  );
  const head = {
    id: `chatcmpl-${hex(ports.random.bytes(12))}`,
    created: Math.floor(ports.clock.now() / 1e3),
    model: request.model,
  };
  if (request.stream !== true) return whole(messages, head);
  const maker = new ChunkMaker(head, request.stream_options?.include_usage === true);
  return streamed(messages, maker, call.traceId, () => reader.abort());
}

async function whole(messages: AsyncIterable<GenerateResponse>, head: AnswerHead): Promise<PoolChatAnswer> {
  const [counter, maker] = [new Counter(), new CompletionMaker()];
  for await (const message of messages) {
    counter.add(message);
    maker.add(message);
  }
  return { response: Response.json(maker.completion(head)), done: Promise.resolve(counter.counts) };
}

function streamed(
  messages: AsyncGenerator<GenerateResponse>,
  maker: ChunkMaker,
  traceId: string,
  abort: () => void,
): PoolChatAnswer {
  const counter = new Counter();
  const encoder = new TextEncoder();
  const event = (data: object) => encoder.encode(`data: ${JSON.stringify(data)}\n\n`);
  const done = Promise.withResolvers<TokenCounts>();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        // A message may have nothing to show; pull is called again only once something was given.
        for (let shown = 0; shown === 0; ) {
          const step = await messages.next();
          if (step.done === true) {
            controller.enqueue(encoder.encode('data: [DONE]\n\n'));
            controller.close();
            return done.resolve(counter.counts);
          }
          counter.add(step.value);
          for (const chunk of maker.chunks(step.value)) {
            controller.enqueue(event(chunk));
            shown += 1;
          }
        }
      } catch (thrown) {
        // The head is long gone: OpenAI's clients read a failure from an event, and the missing [DONE].
        controller.enqueue(event(openAiErrorBody(poolFailure(thrown), traceId)));
        controller.close();
        abort();
        done.resolve(counter.counts);
      }
    },
    async cancel() {
      abort();
      done.resolve(counter.counts);
      await messages.return(undefined).catch(() => {});
    },
  });
  return {
    response: new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' } }),
    done: done.promise,
  };
}
