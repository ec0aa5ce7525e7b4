/**
 * The one way to the inference pool: a typed client for every service of `proto/services.proto`, at one node. What is
 * generated knows the messages; this adds what every call needs, whichever method it is: a deadline, which the node is
 * told and which ends the call here too, repetition of calls that may be repeated, cancellation, and the trace.
 */

import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import {
  type CallOptions,
  type Client,
  createClient,
  createContextKey,
  createContextValues,
  type StreamResponse,
  type Transport,
} from '@connectrpc/connect';
import type { Clock, Random } from '../ports.ts';
import { InferenceService, IpcService, JobService, ModelService, NodeService } from './gen/services_pb.js';
import { attemptsMaxDefault, isRepeatable, type MethodName, pauseMs } from './retry.ts';
import { connectErrorOf, nodeTransport } from './transport.ts';

/** Time that a call may take where it names none, in milliseconds. */
export const timeoutMsDefault = 60_000;

/** What a client needs of its host. */
export interface PoolClientPorts {
  readonly fetch: typeof globalThis.fetch;
  readonly clock: Clock;
  readonly random: Random;
  /** Resolves after `milliseconds`; rejects with the signal's reason where that ends first. */
  readonly pause: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>;
}

/** The pool's services at one node. */
export interface PoolClient {
  readonly inference: Client<typeof InferenceService>;
  readonly model: Client<typeof ModelService>;
  readonly node: Client<typeof NodeService>;
  readonly job: Client<typeof JobService>;
  readonly ipc: Client<typeof IpcService>;
}

/** What one call asks for, besides its message. */
export interface PoolCall {
  readonly signal?: AbortSignal;
  /** Milliseconds for the whole call, its repetitions and its stream included. */
  readonly timeoutMs?: number;
  /** The caller's span, W3C's form. */
  readonly traceparent?: string;
  /** Attempts at most; 1 where the caller goes to another node by itself. */
  readonly attemptsMax?: number;
}

const attemptsKey = createContextKey(attemptsMaxDefault, { description: 'attempts at most' });

/** `call` as the options that the methods of the services take. */
export function callOptions({ signal, timeoutMs, traceparent, attemptsMax }: PoolCall): CallOptions {
  return {
    timeoutMs: timeoutMs ?? timeoutMsDefault,
    ...(signal === undefined ? {} : { signal }),
    ...(traceparent === undefined ? {} : { headers: { traceparent } }),
    ...(attemptsMax === undefined ? {} : { contextValues: createContextValues().set(attemptsKey, attemptsMax) }),
  };
}

/** A client for the node at `baseUrl`. It holds no connection: making one costs next to nothing. */
export function createPoolClient(baseUrl: string, ports: PoolClientPorts): PoolClient {
  const transport = repeating(nodeTransport(baseUrl, ports.fetch), ports);
  const [inference, job] = [createClient(InferenceService, transport), createClient(JobService, transport)];
  return {
    inference: { ...inference, generate: endedByLeaving(inference.generate) },
    model: createClient(ModelService, transport),
    node: createClient(NodeService, transport),
    job: { ...job, watchJob: endedByLeaving(job.watchJob) },
    ipc: createClient(IpcService, transport),
  };
}

/** `open`, whose stream ends at the node when its reader leaves: the generated client by itself would read on unseen. */
function endedByLeaving<Request, Message>(
  open: (request: Request, options?: CallOptions) => AsyncIterable<Message>,
): (request: Request, options?: CallOptions) => AsyncGenerator<Message> {
  return async function* stream(request, options = {}) {
    const reader = new AbortController();
    const { signal } = options;
    const either = signal === undefined ? reader.signal : AbortSignal.any([signal, reader.signal]);
    try {
      yield* open(request, { ...options, signal: either });
    } finally {
      reader.abort();
    }
  };
}

/** `transport`, with calls repeated as `retry.ts` says. A stream is repeated only before its first message. */
function repeating(transport: Transport, ports: PoolClientPorts): Transport {
  return {
    unary(method, signal, timeoutMs, header, message, contextValues) {
      const attempts = attemptsOf(method, message, contextValues?.get(attemptsKey));
      return repeat(ports, { attempts, signal, timeoutMs: timeoutMs ?? timeoutMsDefault }, (leftMs) =>
        transport.unary(method, signal, leftMs, header, message, contextValues),
      );
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const message = await first(input);
      const attempts = attemptsOf(method, message, contextValues?.get(attemptsKey));
      return repeat(ports, { attempts, signal, timeoutMs: timeoutMs ?? timeoutMsDefault }, async (leftMs) => {
        const response = await transport.stream(method, signal, leftMs, header, only(message), contextValues);
        return begun(response, signal);
      });
    },
  };
}

const attemptsOf = (method: MethodName, message: unknown, asked: number | undefined): number =>
  isRepeatable(method, message) ? (asked ?? attemptsMaxDefault) : 1;

interface Repetition {
  readonly attempts: number;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
}

/** Runs `attempt` until it succeeds, fails for good, or time or attempts are used up. */
async function repeat<Result>(
  { clock, random, pause }: PoolClientPorts,
  { attempts, signal, timeoutMs }: Repetition,
  attempt: (leftMs: number) => Promise<Result>,
): Promise<Result> {
  const endsAt = clock.elapsed() + timeoutMs;
  for (let made = 1; ; made += 1) {
    try {
      return await attempt(Math.max(1, Math.ceil(endsAt - clock.elapsed())));
    } catch (thrown) {
      const error = connectErrorOf(thrown, signal);
      const waitMs = made < attempts ? pauseMs(error, made, random.fraction()) : null;
      if (waitMs === null || clock.elapsed() + waitMs >= endsAt) throw error;
      await pause(waitMs, signal).catch((reason: unknown) => {
        throw connectErrorOf(reason, signal);
      });
    }
  }
}

/** The one message of a call to a method that streams its answer alone. */
async function first<Message>(messages: AsyncIterable<Message>): Promise<Message> {
  for await (const message of messages) return message;
  throw new TypeError('a call has a message');
}

async function* only<Message>(message: Message): AsyncGenerator<Message> {
  yield message;
}

/** `response` once its first message is there, so that a failure before it can be told from one in the middle. */
async function begun<Input extends DescMessage, Output extends DescMessage>(
  response: StreamResponse<Input, Output>,
  signal: AbortSignal | undefined,
): Promise<StreamResponse<Input, Output>> {
  const messages = response.message[Symbol.asyncIterator]();
  const head = await messages.next();
  return { ...response, message: resumed(head, messages, signal) };
}

async function* resumed<Message>(
  head: IteratorResult<Message>,
  messages: AsyncIterator<Message>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Message> {
  try {
    for (let step = head; step.done !== true; step = await messages.next()) yield step.value;
  } catch (thrown) {
    throw connectErrorOf(thrown, signal);
  }
}

/** The message that a service's method takes, as plain fields. */
export type Fields<Schema extends DescMessage> = MessageInitShape<Schema>;
