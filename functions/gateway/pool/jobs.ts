/**
 * Calls that wait in the pool's queue instead of in a connection. A job is known by its client's own name for it, within
 * its tenant: the same name is the same job, and no tenant can ask for another's. Free of Hono.
 */
import type { CallOptions } from '@connectrpc/connect';
import { sha256 } from '../../digest.ts';
import { ApiError } from '../../errors.ts';
import type { Fields, PoolClient } from '../../pool-client/client.ts';
import { type Job, JobState, type SubmitJobRequestSchema, type Usage } from '../../pool-client/gen/services_pb.js';
import type { Background } from '../../ports.ts';
import { CompletionMaker } from './chat-answer.ts';
import type { Pool } from './pool.ts';

/** Longest time for one call of the queue, in milliseconds: it only asks and tells. */
export const jobCallTimeoutMs = 15_000;
/** Names of jobs: short enough to leave room for the tenant's in the pool's key. */
export const jobNamePattern = /^[\w.:-]{1,64}$/;

/** What a call of the queue comes with. */
export interface JobCall {
  readonly tenantId: string;
  /** The client's name for the job, of `jobNamePattern`. */
  readonly name: string;
  readonly traceparent: string;
  readonly signal: AbortSignal;
  readonly background: Background;
}

/** A queued call, as `SubmitJobRequest` takes it. */
export type QueuedCall = NonNullable<Fields<typeof SubmitJobRequestSchema>['call']>;

const keyOf = ({ tenantId, name }: JobCall): string => `${tenantId}/${name}`;

/** The pool's id of a job: made from its key alone, so that the edge need not remember any. */
const idOf = async (call: JobCall): Promise<string> => `job-${(await sha256(keyOf(call))).slice(0, 32)}`;

/** A UUID that is the same each time for one job, so that what it used is written once (RFC 9562, version 8). */
export async function usageIdOf(call: JobCall): Promise<string> {
  const digits = (await sha256(`usage of ${keyOf(call)}`)).slice(0, 32).split('');
  digits[12] = '8';
  digits[16] = 'a';
  return digits.join('').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** The queue of the pool. */
export class Jobs {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Puts `queued` into the queue, or finds the job that has this name already. @throws ApiError */
  async submit(call: JobCall, queued: QueuedCall): Promise<Job> {
    const message = { idempotencyKey: keyOf(call), call: queued };
    const job = await this.#ask(call, (client, options) => client.job.submitJob(message, options));
    if (job.id !== (await idOf(call))) {
      throw new ApiError('upstream_failed', 'The pool names its jobs in another way than this edge expects.');
    }
    return job;
  }

  /** How the job does. @throws ApiError job_not_found */
  async get(call: JobCall): Promise<Job> {
    const id = await idOf(call);
    return this.#ask(call, (client, options) => client.job.getJob({ id }, options));
  }

  /** Ends the job unless it has ended. @throws ApiError job_not_found */
  async cancel(call: JobCall): Promise<Job> {
    const id = await idOf(call);
    return this.#ask(call, (client, options) => client.job.cancelJob({ id }, options));
  }

  #ask(
    { traceparent, signal, background }: JobCall,
    attempt: (client: PoolClient, options: CallOptions) => Promise<Job>,
  ): Promise<Job> {
    // Any node reaches the queue.
    const call = { wanted: null, key: null, signal, traceparent, timeoutMs: jobCallTimeoutMs, background };
    return this.#pool.call(call, attempt);
  }
}

/** A job's state in the words of the interface. */
export function statusOf(state: JobState): 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' {
  switch (state) {
    case JobState.RUNNING:
      return 'running';
    case JobState.SUCCEEDED:
      return 'succeeded';
    case JobState.FAILED:
      return 'failed';
    case JobState.CANCELLED:
      return 'cancelled';
    default:
      return 'queued';
  }
}

/** Seconds since the epoch, or null where there is no such time. */
const secondsOf = (milliseconds: bigint): number | null =>
  milliseconds > 0n ? Math.floor(Number(milliseconds) / 1e3) : null;

/** The job as clients read it. The result of a chat is the completion that a call would have answered. */
export function shownJob(name: string, job: Job) {
  const { state, attempt, error, submittedAtMs, endedAtMs } = job;
  return {
    id: name,
    object: 'job' as const,
    status: statusOf(state),
    attempt,
    created_at: secondsOf(submittedAtMs),
    ended_at: secondsOf(endedAtMs),
    error: error === '' ? null : error,
    result: state === JobState.SUCCEEDED ? resultOf(name, job) : null,
  };
}

function resultOf(name: string, { generated, embedded, endedAtMs }: Job): object | null {
  if (embedded !== undefined) return embeddingsOf(embedded);
  const [first] = generated;
  if (first === undefined) return null;
  const maker = new CompletionMaker();
  for (const message of generated) maker.add(message);
  return maker.completion({ id: `chatcmpl-${name}`, created: secondsOf(endedAtMs) ?? 0, model: first.model });
}

function embeddingsOf({ model, vectors, dimensions, tokenCounts }: NonNullable<Job['embedded']>): object {
  const floats = new Float32Array(vectors.slice().buffer);
  const tokens = tokenCounts.reduce((sum, count) => sum + count, 0);
  return {
    object: 'list',
    data: tokenCounts.map((_, index) => ({
      object: 'embedding',
      index,
      embedding: Array.from(floats.subarray(index * dimensions, (index + 1) * dimensions)),
    })),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}

/** What a job that has succeeded used; null where it has not, or says nothing of it. */
export function usageOfJob({
  state,
  generated,
  embedded,
}: Job): { model: string; input: number; output: number } | null {
  if (state !== JobState.SUCCEEDED) return null;
  if (embedded !== undefined) {
    const input = embedded.tokenCounts.reduce((sum, count) => sum + count, 0);
    return { model: embedded.model, input, output: 0 };
  }
  const usages = generated.flatMap(({ usage }): Usage[] => (usage === undefined ? [] : [usage]));
  const last = usages.at(-1);
  const model = generated[0]?.model ?? '';
  return last === undefined || model === '' ? null : { model, input: last.promptTokens, output: last.completionTokens };
}
